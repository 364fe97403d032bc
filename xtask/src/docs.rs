//! The generated part of `docs/reference/`: what the binary says about itself.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::gate;
use crate::process::{Result, output, root};
use crate::server::Server;

mod pages;

/// How long one small transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(60);

/// `cargo xtask docs [--check]`: writes every page again, or says which would change.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("docs takes --check or nothing".into()),
    };
    let binary = gate::build_tests("haulier")?;
    let server = Server::start(&binary, &[])?;
    let known = serde_json::from_str(&output(Command::new(&binary).arg("reference"))?)?;
    let pages = [
        ("cli.md", command_line(&binary)?),
        ("config.md", pages::settings(&known)),
        ("connectors.md", pages::connectors(&known)),
        ("events.md", pages::events(&known)),
        ("metrics.md", metrics(&server)?),
        ("openapi.json", openapi(&server)?),
    ];
    let folder = root().join("docs/reference");
    let mut behind = Vec::new();
    for (name, text) in pages {
        let path = folder.join(name);
        if fs::read_to_string(&path).unwrap_or_default() != text {
            behind.push(name);
            if !check {
                fs::write(&path, text)?;
                println!("docs/reference/{name} written");
            }
        }
    }
    if check && !behind.is_empty() {
        let names = behind.join(", ");
        return Err(format!("docs/reference is behind in {names}: run cargo xtask docs").into());
    }
    Ok(())
}

/// The help of every command, in the order the binary lists them.
fn command_line(binary: &Path) -> Result<String> {
    let mut page = String::from("# The command line\n\nWritten by `cargo xtask docs` from the program's own help.\n");
    describe(binary, &mut vec!["haulier".to_owned()], &mut page)?;
    Ok(page)
}

fn describe(binary: &Path, words: &mut Vec<String>, page: &mut String) -> Result<()> {
    let help = output(Command::new(binary).args(&words[1..]).arg("--help").env("COLUMNS", "100").env("NO_COLOR", "1"))?;
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    write!(page, "\n## {}\n\n```text\n{}\n```\n", words.join(" "), help.join("\n").trim_end())?;
    for name in subcommands(&help) {
        words.push(name.to_owned());
        describe(binary, words, page)?;
        words.pop();
    }
    Ok(())
}

/// The names in a help text's list of commands.
fn subcommands<'a>(help: &[&'a str]) -> Vec<&'a str> {
    help.iter()
        .skip_while(|line| **line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Names stand two columns in; what wraps below them stands further.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

/// The API as a server describes it.
fn openapi(server: &Server) -> Result<String> {
    let answer = server.client()?.get("/openapi.json")?;
    let document: serde_json::Value = serde_json::from_slice(&answer.body)?;
    Ok(format!("{document:#}\n"))
}

/// The metrics of a server that has done one of everything: some appear with their first count.
fn metrics(server: &Server) -> Result<String> {
    let mut client = server.client()?;
    let source = std::env::current_exe()?;
    let body = format!(r#"{{"source_url":"file://{}","destination_url":"file:///dev/null"}}"#, source.display());
    let made: serde_json::Value = serde_json::from_slice(&client.post("/v1/transfers", &body)?.body)?;
    let path = format!("/v1/transfers/{}", made["id"].as_str().ok_or("a transfer was refused")?);
    let begun = Instant::now();
    loop {
        let document: serde_json::Value = serde_json::from_slice(&client.get(&path)?.body)?;
        if document["state"] == "STATE_COMPLETE" {
            break;
        }
        if begun.elapsed() > TRANSFER_LIMIT {
            return Err(format!("a transfer does not end: {document}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let page = client.get("/metrics")?;
    Ok(pages::metrics(&String::from_utf8_lossy(&page.body)))
}

#[cfg(test)]
mod tests {
    use super::subcommands;

    #[test]
    fn subcommands_are_read_from_help() {
        let help = [
            "Moves bytes",
            "",
            "Commands:",
            "  serve     A node",
            "            that serves",
            "  cp        Copies",
            "  help      Print this message",
            "",
            "Options:",
            "  -q  Quiet",
        ];
        assert_eq!(subcommands(&help), ["serve", "cp"]);
        assert_eq!(subcommands(&["Usage: haulier cp"]), [""; 0]);
    }
}
