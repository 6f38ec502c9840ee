//! Embeds a build id: a hash of everything that the library is made of.
//!
//! The Go side keeps the same id in a generated file. Go's build cache does not see that a static library has changed, so
//! without it a stale core could be linked unnoticed.

use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here
        .ancestors()
        .nth(2)
        .expect("rust-core/ffi lies below the root");
    let mut files = Vec::new();
    for folder in ["rust-core/core/src", "rust-core/ffi/src"] {
        collect(&root.join(folder), &mut files);
    }
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-core/core/Cargo.toml",
        "rust-core/ffi/Cargo.toml",
        "rust-core/ffi/build.rs",
    ] {
        files.push(root.join(file));
    }
    files.sort();

    let mut hash = Sha256::new();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.strip_prefix(root).expect("below the root");
        let content = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        hash.update(name.to_string_lossy().as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    for name in ["PROFILE", "OPT_LEVEL", "TARGET", "CARGO_ENCODED_RUSTFLAGS"] {
        hash.update(name.as_bytes());
        hash.update(env::var(name).unwrap_or_default().as_bytes());
    }
    let id: String = hash
        .finalize()
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo:rustc-env=KBAR_BUILD_ID={id}");

    // Where whoever links the library finds the id without running it: target/<profile>/barrier-build-id.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    if let Some(profile) = out.ancestors().nth(3) {
        fs::write(profile.join("barrier-build-id"), &id).expect("the target folder can be written");
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
