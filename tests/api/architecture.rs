//! Holds the source to the tables of `ARCHITECTURE.md`: who may import whom, and which names live only where.
//!
//! The source is parsed, not searched, so that `use crate::{a, b}`, `super::super::a` and a path in the middle of an
//! expression are all seen, macro calls and attributes included; unit tests and comments are not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

#[test]
fn the_source_keeps_to_the_tables() -> Result<()> {
    let violations = inspect_package(&Rules::parse(ARCHITECTURE)?)?;
    assert!(violations.is_empty(), "ARCHITECTURE.md does not allow:\n{}", violations.join("\n"));
    Ok(())
}

#[test]
fn every_room_has_its_row_and_imports_only_from_lower_ones() -> Result<()> {
    let rules = Rules::parse(ARCHITECTURE)?;
    let library = syn::parse_file(&std::fs::read_to_string(source().join("lib.rs"))?)?;
    let mut modules: BTreeSet<String> = library.items.iter().filter_map(module_name).collect();
    modules.insert("main".to_owned());
    assert_eq!(modules, rules.rooms.keys().cloned().collect(), "the modules of src/lib.rs, and the rooms of the table");
    for (name, room) in &rules.rooms {
        for import in &room.imports {
            assert!(
                rules.rooms[import].row < room.row,
                "`{name}` may import only from lower rows, and `{import}` isn't in one"
            );
        }
    }
    Ok(())
}

#[test]
fn a_panic_unwinds() {
    let manifest = include_str!("../../Cargo.toml");
    assert!(!manifest.contains("panic ="), "a panic must cost a request, not the service");
}

#[test]
fn imports_are_seen_however_they_are_spelt() -> Result<()> {
    for source in [
        "use crate::http::Problem;",
        "use crate::{id::JobId, http};",
        "use crate::{id::JobId, http as h};",
        "use super::super::http::*;",
        "pub use graphkin::http::error::Problem;",
        "fn f() { crate::http::g(); }",
        "fn f() -> Vec<crate::http::Problem> { todo!() }",
        "fn f() { println!(\"{}\", crate::http::LIMIT); }",
        "mod inner { use super::super::super::http; }",
        "impl From<u8> for A { fn from(_: u8) -> Self { use crate::http; A } }",
        "#[derive(crate::http::Wire)] struct A;",
        "#[cfg(not(test))] use crate::http;",
    ] {
        assert_eq!(
            violations_of("detector", source)?,
            ["src/detector/order.rs:1: `detector` imports `http`"],
            "{source}"
        );
    }
    Ok(())
}

#[test]
fn resources_do_not_import_each_other() -> Result<()> {
    let rules = Rules::parse(ARCHITECTURE)?;
    let module = |name: &str| vec!["http".to_owned(), name.to_owned()];
    let inspect = |name, text| Inspector::inspect(&rules, module(name), Path::new("src/http/graphs.rs"), text);
    let graphs = inspect("graphs", "use super::families::FamilyName; use super::error::Problem; fn router() {}")?;
    let families = inspect("families", "use crate::http::error::Problem; pub(super) fn router() {}")?;
    let error = inspect("error", "pub struct Problem;")?;
    let parent = Inspector::inspect(&rules, vec!["http".to_owned()], Path::new("src/http/mod.rs"), "use families::F;")?;
    let violations = between_resources(&[graphs, families, error, parent]);
    assert_eq!(violations, ["src/http/graphs.rs:1: resource `graphs` imports resource `families`"]);
    Ok(())
}

#[test]
fn names_are_seen_outside_their_rooms() -> Result<()> {
    for (room, source, name) in [
        ("http", "use candle_core::{Device, Tensor};", "candle_core"),
        ("http", "fn f(t: &crate::model::Tensor) {}", "Tensor"),
        ("worker", "use sqlx::SqlitePool;", "sqlx"),
        ("worker", "const Q: &str = \"SELECT id FROM jobs\";", "SQL text"),
        ("worker", "fn f() { query!(\"UPDATE jobs SET state = ?\", 1); }", "SQL text"),
        ("worker", "use axum::http::StatusCode;", "StatusCode"),
        ("worker", "fn f() { let _ = std::env::var(\"HOME\"); }", "std::env"),
        ("worker", "use std::{env, fs};", "std::env"),
        ("train", "fn f() { tracing::info!(\"epoch\"); }", "tracing"),
        ("train", "fn f() { let _ = std::time::Instant::now(); }", "Instant"),
        ("train", "fn f() { vec![rand::random::<u64>()]; }", "rand::random"),
        ("train", "#[tokio::main] fn f() {}", "tokio"),
    ] {
        let expected = format!("`{room}` names {name}");
        let found = violations_of(room, source)?;
        assert!(found.iter().any(|violation| violation.ends_with(&expected)), "{source}: {found:?}");
    }
    Ok(())
}

#[test]
fn what_is_allowed_passes() -> Result<()> {
    for (room, source) in [
        ("store", "fn f() { sqlx::query!(\"SELECT id FROM jobs\"); }"),
        ("http", "use axum::http::StatusCode; use crate::{graph::Graph, store::Store};"),
        ("graph", "use super::Graph; use self::inner::A; mod inner { use super::super::Graph; }"),
        ("graph", "#[cfg(test)] mod tests { use crate::http::Problem; }"),
        ("graph", "/// SELECT id FROM jobs; see [`crate::http`].\nfn f() {}"),
        ("graph", "const PROSE: &str = \"select a family from the list\";"),
    ] {
        assert_eq!(violations_of(room, source)?, Vec::<String>::new(), "{source}");
    }
    Ok(())
}

/// What is wrong with `source` as the file `src/ROOM/order.rs`.
fn violations_of(room: &str, source: &str) -> Result<Vec<String>> {
    let rules = Rules::parse(ARCHITECTURE)?;
    let module = vec![room.to_owned(), "order".to_owned()];
    let file = PathBuf::from(format!("src/{room}/order.rs"));
    Ok(Inspector::inspect(&rules, module, &file, source)?.violations)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Follows the `mod` lines from `src/lib.rs` on, as the compiler does.
fn inspect_package(rules: &Rules) -> Result<Vec<String>> {
    let mut inspected = Vec::new();
    let mut modules = vec![vec![], vec!["main".to_owned()]];
    while let Some(module) = modules.pop() {
        let file = file_of(&module)?;
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let shown = Path::new("src").join(file.strip_prefix(source())?);
        let inspector = Inspector::inspect(rules, module, &shown, &text)?;
        modules.extend(inspector.children.iter().cloned());
        inspected.push(inspector);
    }
    let mut violations = between_resources(&inspected);
    violations.extend(inspected.into_iter().flat_map(|inspector| inspector.violations));
    Ok(violations)
}

/// The imports from one resource of `http` to another: of a module with a `router`, by any but the parent.
fn between_resources(inspected: &[Inspector]) -> Vec<String> {
    let resources: BTreeSet<&str> = inspected
        .iter()
        .filter_map(|inspector| match inspector.module.as_slice() {
            [room, resource] if room == "http" && inspector.has_router => Some(resource.as_str()),
            _ => None,
        })
        .collect();
    let mut violations = Vec::new();
    for inspector in inspected {
        let [room, own, ..] = inspector.module.as_slice() else { continue };
        for (target, line) in &inspector.siblings {
            if room == "http" && target != own && resources.contains(target.as_str()) {
                let file = inspector.file.display();
                violations.push(format!("{file}:{line}: resource `{own}` imports resource `{target}`"));
            }
        }
    }
    violations
}

fn file_of(module: &[String]) -> Result<PathBuf> {
    if module.is_empty() {
        return Ok(source().join("lib.rs"));
    }
    let folder = module.iter().fold(source(), |folder, name| folder.join(name));
    let candidates = [folder.with_extension("rs"), folder.join("mod.rs")];
    candidates.into_iter().find(|file| file.exists()).with_context(|| format!("no file for {}", module.join("::")))
}

/// The two tables, read.
struct Rules {
    rooms: BTreeMap<String, Room>,
    homes: Vec<Home>,
}

struct Room {
    row: u32,
    imports: BTreeSet<String>,
}

/// A name, and the rooms whose source may have it.
struct Home {
    name: Name,
    rooms: BTreeSet<String>,
}

enum Name {
    /// Consecutive segments, anywhere in a path.
    Path(Vec<String>),
    Sql,
}

impl Rules {
    fn parse(document: &str) -> Result<Self> {
        let table = rows_below(document, "| row | half | room | may import |")?;
        let mut rows: BTreeMap<String, u32> = BTreeMap::new();
        let mut shell = BTreeSet::new();
        for [row, half, names, _] in &table {
            for name in quoted(names) {
                if *half == "shell" {
                    shell.insert(name.clone());
                }
                ensure!(rows.insert(name.clone(), row.parse()?).is_none(), "`{name}` has two rows");
            }
        }
        let known = |names: BTreeSet<String>| {
            let strangers: Vec<_> = names.iter().filter(|name| !rows.contains_key(*name)).collect();
            ensure!(strangers.is_empty(), "no rooms: {strangers:?}");
            Ok(names)
        };
        let mut rooms = BTreeMap::new();
        for [_, _, names, imports] in &table {
            for name in quoted(names) {
                let row = rows[&name];
                let imports = match *imports {
                    "nothing" => BTreeSet::new(),
                    "everything below" => {
                        rows.iter().filter(|(_, other)| **other < row).map(|(other, _)| other.clone()).collect()
                    }
                    some => known(quoted(some))?,
                };
                rooms.insert(name, Room { row, imports });
            }
        }
        let mut homes = Vec::new();
        for [names, only_in] in rows_below(document, "| name | only in |")? {
            let rooms = if only_in == "the shell" { shell.clone() } else { known(quoted(only_in))? };
            ensure!(!rooms.is_empty(), "nobody may name {names}");
            if names.contains("SQL text") {
                homes.push(Home { name: Name::Sql, rooms: rooms.clone() });
            }
            for name in quoted(names) {
                let path = name.split("::").map(str::to_owned).collect();
                homes.push(Home { name: Name::Path(path), rooms: rooms.clone() });
            }
        }
        Ok(Self { rooms, homes })
    }
}

/// The cells of the table under `header`.
fn rows_below<'a, const COLUMNS: usize>(document: &'a str, header: &str) -> Result<Vec<[&'a str; COLUMNS]>> {
    let lines = document.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.try_into().ok().with_context(|| format!("not {COLUMNS} cells: {line}"))
        })
        .collect::<Result<_>>()?;
    ensure!(!rows.is_empty(), "ARCHITECTURE.md has no table with the header {header}");
    Ok(rows)
}

/// What stands between backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Reads one file and notes what it may not import or name.
struct Inspector<'a> {
    rules: &'a Rules,
    file: PathBuf,
    /// Where we are, from the crate's root: the room first.
    module: Vec<String>,
    /// The modules declared here that have a file of their own.
    children: Vec<Vec<String>>,
    /// The modules of its own room that it names, each with a line.
    siblings: BTreeMap<String, usize>,
    has_router: bool,
    violations: Vec<String>,
}

impl<'a> Inspector<'a> {
    fn inspect(rules: &'a Rules, module: Vec<String>, file: &Path, text: &str) -> Result<Self> {
        let syntax = syn::parse_file(text).with_context(|| file.display().to_string())?;
        let mut inspector = Self {
            rules,
            file: file.to_owned(),
            module,
            children: Vec::new(),
            siblings: BTreeMap::new(),
            has_router: syntax.items.iter().any(|item| matches!(item, syn::Item::Fn(f) if f.sig.ident == "router")),
            violations: Vec::new(),
        };
        inspector.visit_file(&syntax);
        Ok(inspector)
    }

    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// A path as it is written here, at `line`.
    fn path(&mut self, written: &[String], line: usize) {
        let path = self.resolve(written);
        if let [root, target, ..] = path.as_slice()
            && root == "crate"
            && target != self.room()
            && self.rules.rooms.contains_key(target)
            && !self.rules.rooms.get(self.room()).is_some_and(|room| room.imports.contains(target))
        {
            self.violate(line, &format!("imports `{target}`"));
        }
        if let [root, room, sibling, ..] = path.as_slice()
            && root == "crate"
            && room == self.room()
        {
            self.siblings.entry(sibling.clone()).or_insert(line);
        }
        self.home(line, |name| match name {
            Name::Path(segments) if path.windows(segments.len()).any(|window| window == segments) => {
                Some(segments.join("::"))
            }
            _ => None,
        });
    }

    fn text(&mut self, text: &str, line: usize) {
        if is_sql(text) {
            self.home(line, |name| matches!(name, Name::Sql).then(|| "SQL text".to_owned()));
        }
    }

    /// Complains of what `found` recognises away from its home.
    fn home(&mut self, line: usize, found: impl Fn(&Name) -> Option<String>) {
        for home in &self.rules.homes {
            if let Some(name) = found(&home.name)
                && !home.rooms.contains(self.room())
            {
                self.violate(line, &format!("names {name}"));
            }
        }
    }

    fn violate(&mut self, line: usize, what: &str) {
        let violation = format!("{}:{line}: `{}` {what}", self.file.display(), self.room());
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// The path from the crate's root, or from another crate's.
    fn resolve(&self, written: &[String]) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = written;
        match rest.first().map(String::as_str) {
            Some("crate" | "graphkin") => base.clear(),
            Some("self" | "super") => {}
            _ => return written.to_vec(),
        }
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "super" => _ = base.pop(),
                "self" | "crate" | "graphkin" => {}
                _ => break,
            }
            rest = others;
        }
        std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect()
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| prefix.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.path(&with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Rename(rename) => self.path(&with(&rename.ident), rename.ident.span().start().line),
            syn::UseTree::Glob(glob) => self.path(prefix, glob.span().start().line),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(prefix, item)),
        }
    }

    /// The paths and texts among the tokens of a macro call or an attribute.
    fn tokens(&mut self, stream: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut line = 0;
        for token in stream {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&path, line);
                        path.clear();
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.text(&text.value(), literal.span().start().line);
                    }
                }
                TokenTree::Punct(_) => {}
            }
            self.path(&path, line);
            path.clear();
            colons = 0;
        }
        self.path(&path, line);
    }
}

impl<'ast> Visit<'ast> for Inspector<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            visit::visit_item_mod(self, item);
        } else {
            self.children.push(self.module.clone());
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.text(&text.value(), text.span().start().line);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        self.visit_path(attribute.path());
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}

fn module_name(item: &syn::Item) -> Option<String> {
    match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    }
}

/// Whether the item has the attribute `#[cfg(test)]`.
fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Whether the text is a statement in SQL. Its keywords are in capitals, as ours are: prose may begin with "select".
fn is_sql(text: &str) -> bool {
    let mut words = text.split_whitespace();
    match words.next() {
        Some("SELECT" | "WITH" | "PRAGMA" | "VACUUM") => true,
        Some("INSERT" | "REPLACE") => text.contains("INTO"),
        Some("UPDATE") => text.contains("SET"),
        Some("DELETE") => text.contains("FROM"),
        Some("CREATE" | "ALTER" | "DROP") => words.any(|word| matches!(word, "TABLE" | "INDEX" | "TRIGGER" | "VIEW")),
        Some("BEGIN") => matches!(words.next(), Some("IMMEDIATE" | "EXCLUSIVE" | "DEFERRED" | "TRANSACTION")),
        _ => false,
    }
}
