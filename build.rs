//! Tells Cargo that the migrations are part of the program: `sqlx::migrate!` embeds them, but a new file alone would not
//! make it look again.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
