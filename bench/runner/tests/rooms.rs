//! The rooms of the runner: each uses only those below it, and no files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Meta, UseTree, Visibility};

/// From the bottom up.
const ROOMS: [&str; 15] = [
    "values",
    "events",
    "suite",
    "evidence",
    "series",
    "plan",
    "verdict",
    "compare",
    "report",
    "monitoring",
    "run",
    "doctor",
    "session",
    "terminal",
    "cli",
];

/// A module by its path from the root of the crate; the root is empty.
type Module = Vec<String>;

/// The paths that a file names.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(module) => &module.attrs,
            Item::Use(used) => &used.attrs,
            _ => &[],
        };
        if !attributes.iter().any(of_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, used: &'ast ItemUse) {
        self.tree(&used.tree, &[]);
    }

    /// Who may use an item is no use of anything.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.0.push(words.collect());
        visit::visit_path(self, path);
    }
}

impl Paths {
    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |word: String| [before, &[word]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Rename(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Glob(_) => self.0.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
        }
    }
}

fn of_tests(attribute: &Attribute) -> bool {
    matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
}

fn read(folder: &Path, module: &[String], files: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let own = [module, std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            read(&path, &own, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "main" {
            let module = if stem == "mod" || stem == "lib" {
                module.to_vec()
            } else {
                own
            };
            files.insert(
                module,
                std::fs::read_to_string(&path).expect("a source file"),
            );
        }
    }
}

/// Which file of the crate a path leads to, seen from a module.
fn resolve(path: &[String], from: &Module, files: &BTreeMap<Module, String>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let supers = path.iter().take_while(|word| *word == "super").count();
    let whole: Module = match first.as_str() {
        "crate" => rest.to_vec(),
        "self" => [from, rest].concat(),
        "super" => [&from[..from.len().checked_sub(supers)?], &path[supers..]].concat(),
        _ => {
            let child = [from.as_slice(), std::slice::from_ref(first)].concat();
            files.contains_key(&child).then(|| [from, path].concat())?
        }
    };
    (1..=whole.len())
        .rev()
        .map(|length| whole[..length].to_vec())
        .find(|module| files.contains_key(module))
}

/// Which files each file uses.
fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = BTreeMap::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &[],
        &mut files,
    );
    let of = |module: &Module, text: &str| {
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(text).expect("Rust"));
        let found = paths
            .0
            .iter()
            .filter_map(|path| resolve(path, module, &files));
        found.filter(|other| other != module).collect()
    };
    files
        .iter()
        .map(|(module, text)| (module.clone(), of(module, text)))
        .collect()
}

fn named(module: &Module) -> String {
    if module.is_empty() {
        "lib".to_owned()
    } else {
        module.join("/")
    }
}

#[test]
fn each_room_uses_only_those_below_it() {
    let floor = |module: &Module| {
        module.first().map_or(ROOMS.len(), |room| {
            let place = ROOMS.iter().position(|known| known == room);
            place.unwrap_or_else(|| panic!("{room} is no room: give it its place in ROOMS"))
        })
    };
    let mut upwards = Vec::new();
    for (module, used) in uses() {
        for other in used.iter().filter(|other| floor(other) > floor(&module)) {
            upwards.push(format!("{} uses {}", named(&module), named(other)));
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut left = uses();
    assert!(left.len() > 40, "the sources were found");
    // What uses nothing that is left, or is used by nothing that is left, is in no circle.
    loop {
        let used: BTreeSet<Module> = left.values().flatten().cloned().collect();
        let before = left.len();
        let names: BTreeSet<Module> = left.keys().cloned().collect();
        left.retain(|module, uses| used.contains(module) && !uses.is_disjoint(&names));
        if left.len() == before {
            break;
        }
    }
    let rest: Vec<String> = left.keys().map(named).collect();
    assert!(rest.is_empty(), "in circles, or between two: {rest:?}");
}
