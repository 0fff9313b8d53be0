//! The test suites that hashbrown and griddle publish inside their packages, run against `ghmap`.
//!
//! Nothing of them is kept here: the packages are found in cargo's registry cache (fetched first if
//! need be), their tests are unpacked under `target/suites`, and a package there renames `ghmap` to
//! `hashbrown` or `griddle`. Of the unit tests, which live inside the crates, those of the maps and sets
//! that use public API alone are taken; what is left out, and why, is printed.

use crate::run::{Result, cargo};
use std::fs;
use std::path::{Path, PathBuf};

/// One suite.
struct Suite {
    name: &'static str,
    version: &'static str,
    /// Manifest lines: the features of `ghmap`, and what the tests use.
    features: &'static str,
    dev: &'static str,
    /// Unit tests: source file, module, name of the generated test file.
    units: &'static [(&'static str, &'static str, &'static str)],
    /// Integration tests taken as they are.
    tests: &'static [&'static str],
    /// Words of the crate's insides; a unit test that says one of them is left out.
    private: &'static [&'static str],
    /// Integration tests' calls that hashbrown 0.17's signatures would refuse too.
    adapt: &'static [(&'static str, &'static str)],
    /// Tests that assert the crate's own layout through its public API, and what they assert.
    skip: &'static [(&'static str, &'static str)],
    /// Paths that mean something else outside the crate.
    paths: &'static [(&'static str, &'static str)],
}

const SUITES: &[Suite] = &[
    Suite {
        name: "hashbrown",
        version: "0.17.1",
        features: "\"serde\", \"rayon\", \"allocator-api2\", \"equivalent\"",
        dev: "allocator-api2 = \"0.2\"\nfnv = \"1\"\nrand = { version = \"0.9\", features = [\"small_rng\"] }\n\
              rayon = \"1\"\nserde_test = \"1\"\n",
        units: &[
            ("src/map.rs", "test_map", "unit_map"),
            ("src/set.rs", "test_set", "unit_set"),
        ],
        tests: &[
            "equivalent_trait",
            "hasher",
            "hasher_unwind",
            "rayon",
            "serde",
            "set",
        ],
        private: &[
            "raw_capacity",
            ".table",
            "get_test_map",
            "scopeguard",
            "make_hash",
        ],
        adapt: &[],
        skip: &[
            ("rehash_in_place", "a capacity of exactly 224"),
            (
                "hashmap_reserve_survives_panicking_build_hasher",
                "a capacity of exactly 224",
            ),
            (
                "map_serde_tokens",
                "the order in which hashbrown stores three keys",
            ),
            (
                "set_serde_tokens",
                "the order in which hashbrown stores three elements",
            ),
        ],
        paths: &[
            ("super::Entry::", "hashbrown::hash_map::Entry::"),
            ("super::EntryRef", "hashbrown::hash_map::EntryRef"),
            ("super::", "hashbrown::"),
            ("crate::alloc::", "allocator_api2::alloc::"),
            ("crate::", "hashbrown::"),
            ("stdalloc::", "std::"),
        ],
    },
    Suite {
        name: "griddle",
        version: "0.6.0",
        features: "\"serde\", \"rayon\"",
        dev: "fnv = \"1\"\nlazy_static = \"1\"\nquickcheck = { version = \"1\", default-features = false }\n\
              rand = { version = \"0.8\", features = [\"small_rng\"] }\n\
              rayon_ = { package = \"rayon\", version = \"1\" }\nserde_test = \"1\"\n",
        units: &[
            ("src/map.rs", "test_map", "unit_map"),
            ("src/set.rs", "test_set", "unit_set"),
        ],
        // Its `serde.rs` tests hashbrown and not griddle.
        tests: &["quick", "rayon", "regressions"],
        // `raw_entry` and `drain_filter` are gone from hashbrown 0.17's stable names or were renamed.
        private: &[
            "raw_capacity",
            ".table",
            "raw_entry",
            "RawEntryMut",
            "drain_filter",
        ],
        adapt: &[("map.get(k).is_some()", "map.get::<u8>(k).is_some()")],
        skip: &[
            (
                "map_serde_tokens",
                "the order in which hashbrown stores three keys",
            ),
            (
                "set_serde_tokens",
                "the order in which hashbrown stores three elements",
            ),
        ],
        paths: &[
            ("super::Entry::", "griddle::hash_map::Entry::"),
            (
                "super::super::map::DefaultHashBuilder",
                "griddle::DefaultHashBuilder",
            ),
            ("super::super::map::", "griddle::hash_map::"),
            ("super::", "griddle::"),
            ("crate::", "griddle::"),
        ],
    },
];

/// Runs both suites.
pub(crate) fn run() -> Result {
    for suite in SUITES {
        let root = PathBuf::from("target/suites").join(suite.name);
        let source = fetch(suite, &root.join("fetch"))?;
        let shim = root.join("shim");
        write_shim(suite, &source, &shim)?;
        let manifest = shim.join("Cargo.toml");
        let manifest = manifest.to_string_lossy();
        let mut args = vec!["test", "--manifest-path", &*manifest, "--tests"];
        args.extend(["--no-fail-fast", "--", "--exact"]);
        for (test, asserted) in suite.skip {
            eprintln!("  skipped of {}: {test} (asserts {asserted})", suite.name);
            args.extend(["--skip", test]);
        }
        cargo(&args, &[])?;
    }
    Ok(())
}

/// Where the package's source is: cargo unpacks it for a package that depends on it.
fn fetch(suite: &Suite, dir: &Path) -> std::result::Result<PathBuf, Box<dyn std::error::Error>> {
    fs::create_dir_all(dir.join("src"))?;
    fs::write(dir.join("src/lib.rs"), "")?;
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"fetch-{0}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\n{0} = \"={1}\"\n",
            suite.name, suite.version
        ),
    )?;
    let manifest = dir.join("Cargo.toml");
    cargo(
        &["fetch", "--manifest-path", &manifest.to_string_lossy()],
        &[],
    )?;
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .ok_or("no CARGO_HOME")?;
    let package = format!("{}-{}", suite.name, suite.version);
    for registry in fs::read_dir(home.join("registry/src"))? {
        let source = registry?.path().join(&package);
        if source.is_dir() {
            return Ok(source);
        }
    }
    Err(format!("{package} is not in the registry cache").into())
}

fn write_shim(suite: &Suite, source: &Path, shim: &Path) -> Result {
    // Tests of an older version must not linger.
    if shim.join("tests").is_dir() {
        fs::remove_dir_all(shim.join("tests"))?;
    }
    fs::create_dir_all(shim.join("tests"))?;
    fs::create_dir_all(shim.join("src"))?;
    fs::write(shim.join("src/lib.rs"), "")?;
    let ghmap = fs::canonicalize("crates/ghmap")?;
    fs::write(
        shim.join("Cargo.toml"),
        format!(
            "[package]\nname = \"{0}-suite\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
             [features]\ndefault = [\"rayon\", \"serde\"]\nrayon = []\nserde = []\n\
             [dependencies]\n{0} = {{ package = \"ghmap\", path = {1:?}, features = [{2}] }}\n\
             [dev-dependencies]\n{3}",
            suite.name, ghmap, suite.features, suite.dev
        ),
    )?;
    for test in suite.tests {
        let file = format!("tests/{test}.rs");
        let mut text = fs::read_to_string(source.join(&file))?;
        for (from, to) in suite.adapt {
            text = text.replace(from, to);
        }
        fs::write(shim.join(&file), text)?;
    }
    for (file, module, name) in suite.units {
        let text = fs::read_to_string(source.join(file))?;
        let test = unit_tests(suite, &text, module)?;
        fs::write(shim.join(format!("tests/{name}.rs")), test)?;
    }
    Ok(())
}

/// The module's items that use public API alone, as a test file.
fn unit_tests(
    suite: &Suite,
    text: &str,
    module: &str,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let opening = format!("mod {module} {{\n");
    let start = text.find(&opening).ok_or("no such module")? + opening.len();
    let body = &text[start..];
    let body = &body[..body.find("\n}\n").ok_or("the module does not end")?];
    let mut kept = String::new();
    let mut item = String::new();
    for line in body.lines() {
        // griddle's own state between two tables: what is asserted of it is dropped, the rest kept.
        if line.contains(".is_split()") && line.trim_start().starts_with("assert!(") {
            eprintln!(
                "  left out of {}: {} (its own layout)",
                suite.name,
                line.trim()
            );
            continue;
        }
        // An import of a name that is gone, beside one that is not.
        item.push_str(&line.replace(", RawEntryMut}", "}"));
        item.push('\n');
        let statement = line.starts_with("    ") && !line.starts_with("     ");
        let ends = line == "    }" || statement && (line.ends_with(';') || line.ends_with("{}"));
        if ends {
            let inside = suite.private.iter().find(|word| item.contains(*word));
            match (inside, item.lines().find(|line| line.contains("fn "))) {
                (None, _) => kept.push_str(&item),
                (Some(word), Some(name)) => {
                    eprintln!("  left out of {}: {} ({word})", suite.name, name.trim());
                }
                (Some(_), None) => {}
            }
            item.clear();
        }
    }
    for (from, to) in suite.paths {
        kept = kept.replace(from, to);
    }
    Ok(kept)
}
