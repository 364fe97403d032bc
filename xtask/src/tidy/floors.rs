//! The table of floors, as data, and the manifests compared with it.
//!
//! A new line here is a decision, so it comes with a record in `docs/decisions/`.

use serde::Deserialize;

use super::Findings;
use crate::process::{Result, cargo, output};

/// A crate of ours: how high it stands and which others it may import.
struct Place {
    name: &'static str,
    floor: u8,
    imports: &'static [&'static str],
}

const BELOW_ROOMS: &[&str] = &[
    "haulier-base",
    "haulier-storage",
    "haulier-schedule",
    "haulier-catalog",
    "haulier-http",
    "haulier-mover",
    "haulier-work",
    "haulier-access",
];

const PLACES: &[Place] = &[
    Place { name: "haulier-base", floor: 0, imports: &[] },
    Place { name: "haulier-storage", floor: 1, imports: &["haulier-base"] },
    Place { name: "haulier-schedule", floor: 1, imports: &["haulier-base"] },
    Place { name: "haulier-catalog", floor: 1, imports: &["haulier-base"] },
    Place { name: "haulier-http", floor: 1, imports: &["haulier-base"] },
    Place { name: "haulier-mover", floor: 2, imports: &["haulier-base", "haulier-storage"] },
    Place { name: "haulier-work", floor: 2, imports: &["haulier-base", "haulier-catalog"] },
    Place {
        name: "haulier-access",
        floor: 2,
        imports: &["haulier-base", "haulier-catalog", "haulier-storage", "haulier-http"],
    },
    Place { name: "haulier-transfer", floor: 3, imports: BELOW_ROOMS },
    Place { name: "haulier-sync", floor: 3, imports: BELOW_ROOMS },
    Place { name: "haulier-replication", floor: 3, imports: BELOW_ROOMS },
    Place { name: "haulier-backup", floor: 3, imports: BELOW_ROOMS },
    Place {
        name: "haulier",
        floor: 4,
        imports: &[
            "haulier-base",
            "haulier-storage",
            "haulier-catalog",
            "haulier-http",
            "haulier-mover",
            "haulier-work",
            "haulier-access",
            "haulier-transfer",
            "haulier-sync",
            "haulier-replication",
            "haulier-backup",
            "haulier-agent",
        ],
    },
    // A client of the API on another machine; it only happens to be in the same binary.
    Place { name: "haulier-agent", floor: 3, imports: &["haulier-base", "haulier-storage", "haulier-schedule"] },
    // In the place of a library, under its name; it lies in crates/haulier-chunker.
    Place { name: "rustic_cdc", floor: 0, imports: &[] },
    // These stand beside the house: nothing that ships imports them.
    Place { name: "haulier-testkit", floor: 3, imports: BELOW_ROOMS },
    Place { name: "haulier-test-s3", floor: 1, imports: &["haulier-base"] },
    Place { name: "xtask", floor: 0, imports: &[] },
];

const DEVELOPMENT_ONLY: &[&str] = &["haulier-testkit", "haulier-test-s3", "xtask"];

/// Libraries that one crate keeps to itself, and who may name them.
const KEPT: &[(&str, &[&str])] = &[
    ("rusqlite", &["haulier-catalog"]),
    // A repository outlives everything else, so its format is known in one place.
    ("rustic_core", &["haulier-agent"]),
    // Minutes to compile, so nobody waits for it but the one test server.
    ("s3s", &["haulier-test-s3"]),
    // The testkit makes and drops the PostgreSQL database of a test.
    ("sqlx", &["haulier-catalog", "haulier-testkit"]),
];

/// A crate as its manifest says.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// Nothing, `dev` or `build`.
    kind: Option<String>,
}

impl Dependency {
    fn is_development(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// The crates of the workspace.
pub(super) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(serde_json::from_str::<Metadata>(&text)?.packages)
}

/// Compares manifests with the table.
pub(super) fn check(packages: &[Package], findings: &mut Findings) {
    for package in packages {
        let Some(place) = find(&package.name) else {
            findings.fault(format!("{} has no line in the table of floors", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            check_import(place, dependency, findings);
            check_kept(place, dependency, findings);
        }
    }
}

fn check_import(place: &Place, dependency: &Dependency, findings: &mut Findings) {
    let Some(imported) = find(&dependency.name) else {
        return;
    };
    // A crate that enables a feature of its own for its tests names itself.
    let for_itself = place.name == imported.name && dependency.is_development();
    if DEVELOPMENT_ONLY.contains(&imported.name) {
        if !dependency.is_development() {
            findings.fault(format!("{} imports {}, which is for tests only", place.name, imported.name));
        }
    } else if !for_itself && !place.imports.contains(&imported.name) {
        findings.fault(format!(
            "{} (floor {}) may not import {} (floor {})",
            place.name, place.floor, imported.name, imported.floor
        ));
    }
}

fn check_kept(place: &Place, dependency: &Dependency, findings: &mut Findings) {
    for (library, keepers) in KEPT {
        if dependency.name == *library && !keepers.contains(&place.name) {
            findings.fault(format!("{} names {library}; only {} may", place.name, keepers.join(" and ")));
        }
    }
}

fn find(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            dependencies: vec![Dependency { name: dependency.to_owned(), kind: kind.map(str::to_owned) }],
        };
        let mut findings = Findings::default();
        check(&[package], &mut findings);
        findings.faults
    }

    #[test]
    fn imports_go_down() {
        for place in PLACES {
            for import in place.imports {
                let imported = find(import).expect("the table names only its own lines");
                let beside = place.name == "haulier-testkit";
                assert!(imported.floor < place.floor || beside, "{} imports {import}", place.name);
            }
        }
        assert_eq!(faults("haulier-mover", "haulier-storage", None), [""; 0]);
        assert_eq!(
            faults("haulier-storage", "haulier-mover", None),
            ["haulier-storage (floor 1) may not import haulier-mover (floor 2)"]
        );
    }

    #[test]
    fn doors_do_not_import_each_other() {
        assert_eq!(
            faults("haulier-catalog", "haulier-http", None),
            ["haulier-catalog (floor 1) may not import haulier-http (floor 1)"]
        );
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(faults("haulier-transfer", "haulier-testkit", Some("dev")), [""; 0]);
        assert_eq!(
            faults("haulier-transfer", "haulier-testkit", None),
            ["haulier-transfer imports haulier-testkit, which is for tests only"]
        );
    }

    #[test]
    fn a_test_may_not_reach_up_either() {
        assert_eq!(faults("haulier-catalog", "haulier-work", Some("dev")).len(), 1);
        assert_eq!(faults("haulier-storage", "haulier-storage", Some("dev")), [""; 0]);
    }

    #[test]
    fn drivers_stay_in_the_catalog() {
        assert_eq!(faults("haulier-catalog", "rusqlite", None), [""; 0]);
        assert_eq!(faults("haulier-testkit", "sqlx", None), [""; 0]);
        assert_eq!(faults("haulier-transfer", "rusqlite", Some("dev")).len(), 1);
        assert_eq!(faults("haulier-testkit", "rusqlite", None).len(), 1);
    }

    #[test]
    fn a_stranger_is_a_fault() {
        assert_eq!(faults("haulier-cellar", "serde", None), ["haulier-cellar has no line in the table of floors"]);
    }
}
