//! Pages of the reference: what the program says as JSON or as metrics, turned into tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

/// Every setting of the configuration file.
pub(super) fn settings(known: &Value) -> String {
    let mut page = String::from(
        "# The settings\n\nWritten by `cargo xtask docs` from the types that read the file.\n\n\
         Flags go before environment variables, these before the file, the file before the defaults; which flags and \
         variables there are, `haulier serve --help` tells. `haulier config check` names every fault with its line, \
         `haulier config show` prints what is in force.\n\n\
         | Key | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n",
    );
    for setting in known["settings"].as_array().into_iter().flatten() {
        let text = |name: &str| setting[name].as_str().unwrap_or_default();
        let default = match (text("default"), setting["required"] == true) {
            ("", true) => "required".to_owned(),
            ("", false) => "none".to_owned(),
            (default, _) => format!("`{default}`"),
        };
        row(&mut page, &[&format!("`{}`", text("key")), text("kind"), &default, text("meaning")]);
    }
    page
}

/// What each row of the matrix of connectors means; the names are those of the program.
const ABILITIES: &[(&str, &str)] = &[
    ("read", "is a source"),
    ("write", "is a destination"),
    ("list", "lists what is in it, in bounded memory"),
    ("delete", "removes objects"),
    ("ranged_read", "reads from the middle, so that a source is not read from its start again"),
    ("parallel_reads", "reads several ranges of one object at once"),
    ("parallel_writes", "takes the bytes of one object in any order"),
    ("resumable_write", "goes on with an unfinished object after a crash, in another process too"),
    ("in_place", "writes into an object that is there (`placement: \"same\"`)"),
    ("read_back", "reads what was written before it is published"),
    ("guarded_write", "replaces, in one step, only the version that it was told of; others look right before"),
    ("rename", "renames an object without moving its bytes, and so keeps old versions"),
    ("attributes", "keeps the time and mode that an object is given"),
    ("checksums", "is sent a checksum along with the bytes, and takes none that differ from it"),
    ("store_copy", "copies within itself, without the bytes passing through Haulier"),
];

/// What each kind of storage can do.
pub(super) fn connectors(known: &Value) -> String {
    let all: Vec<&Value> = known["connectors"].as_array().into_iter().flatten().collect();
    let schemes: Vec<_> = all.iter().map(|one| format!("`{}`", one["scheme"].as_str().unwrap_or_default())).collect();
    let mut page = format!(
        "# The storages\n\nWritten by `cargo xtask docs` from what each connector says of itself. The conformance \
         suite proves it against real servers: it runs the checks of what is marked here, and no others. Options and \
         examples are in [the guide](../guide/storages.md).\n\n| A storage that … | {} |\n| --- |{}\n",
        schemes.join(" | "),
        " --- |".repeat(all.len()),
    );
    for (name, meaning) in ABILITIES {
        let mut cells = vec![*meaning];
        cells.extend(all.iter().map(|one| if one[*name] == true { "yes" } else { "no" }));
        row(&mut page, &cells);
    }
    page
}

/// Every kind of event.
pub(super) fn events(known: &Value) -> String {
    let mut page = String::from(
        "# The events\n\nWritten by `cargo xtask docs` from the program's own list.\n\n\
         An event is recorded in the transaction that made it true. It has an `id`, a `position` in the line of all \
         events, a `kind`, a `subject` (the id of what it happened to), an `owner`, a `body` and an instant `at`.\n\n\
         | Kind | What became true |\n| --- | --- |\n",
    );
    for event in known["events"].as_array().into_iter().flatten() {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        row(&mut page, &[&format!("`{}`", text("kind")), text("meaning")]);
    }
    page
}

#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Every metric, from what `/metrics` prints.
pub(super) fn metrics(scraped: &str) -> String {
    let mut page = String::from(
        "# The metrics\n\nWritten by `cargo xtask docs` from what a running server prints at `/metrics`, which is \
         OpenMetrics text. Counters end in `_total` there, histograms in `_bucket`, `_sum` and `_count`.\n\n\
         | Name | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n",
    );
    for (name, metric) in read_metrics(scraped) {
        let labels = match metric.labels.is_empty() {
            true => "none".to_owned(),
            false => metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        };
        row(&mut page, &[&format!("`{name}`"), &metric.kind, &labels, &metric.help]);
    }
    page
}

fn read_metrics(scraped: &str) -> BTreeMap<String, Metric> {
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    for line in scraped.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.clone_into(&mut found.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut found.entry(name.to_owned()).or_default().kind);
        } else if let Some((sample, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let ends = ["", "_total", "_bucket", "_sum", "_count"];
            let family = ends.iter().filter_map(|end| sample.strip_suffix(end)).find(|name| found.contains_key(*name));
            let metric = family.map(str::to_owned).and_then(|name| found.get_mut(&name));
            let names = labels.split(',').filter_map(|label| label.split_once("=\"")).map(|(name, _)| name.trim());
            if let Some(metric) = metric {
                metric.labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
            }
        }
    }
    found
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).expect("a text takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_with_their_labels() {
        let scraped = "# HELP a_seconds Time to a.\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n\
            a_seconds_bucket{le=\"1.0\",route=\"/x\"} 1\n# HELP b Bs.\n# TYPE b counter\n\
            b_total{kind=\"k\",outcome=\"done\"} 1\n# HELP c Cs.\n# TYPE c gauge\nc 7\n# EOF\n";
        let page = metrics(scraped);
        assert!(page.contains("| `a_seconds` | histogram | `route` | Time to a. |"), "{page}");
        assert!(page.contains("| `b` | counter | `kind`, `outcome` | Bs. |"), "{page}");
        assert!(page.contains("| `c` | gauge | none | Cs. |"), "{page}");
    }
}
