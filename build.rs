//! Tells Cargo that the migrations and the sample models are part of the program: macros embed them, but a new file alone
//! would not make it look again.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=models");
}
