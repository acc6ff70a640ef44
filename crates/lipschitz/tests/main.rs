//! All tests of the public interface in one program, which is linked once and runs those of different files at once.

mod certificate;
mod check;
mod common;
mod cost;
mod digest;
mod exact;
mod extremes;
mod functionals;
mod graph_layers;
mod layerwise;
mod memory;
mod radius;

/// What is no module here would not run.
#[test]
fn every_file_is_a_module() {
    let here = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || here.contains(&format!("\nmod {name};\n")), "{} has no module", path.display());
    }
}
