//! Every developer command, as `cargo xtask COMMAND`.
//!
//! Knows how to call the tools around the workspace; knows nothing of what the crates do.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bench;
mod debian;
mod docs;
mod gate;
mod http;
mod postgres;
mod process;
mod server;
mod servers;
mod soak;
mod tidy;

use process::Result;

/// A command: its name, its arguments as shown in the list, what it does, and the function that does it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        arguments: "",
        about: "format, lint and tidy: what to run before a commit",
        run: |_| gate::check(),
    },
    Command {
        name: "test",
        arguments: "[FILTER]",
        about: "check, then all tests on SQLite and on a throw-away PostgreSQL; with FILTER only the tests it names",
        run: gate::test,
    },
    Command {
        name: "tidy",
        arguments: "",
        about: "floors, room imports, paired migrations, file length, leftover markers",
        run: |_| tidy::run(),
    },
    Command {
        name: "docs",
        arguments: "[--check]",
        about: "write docs/reference/ again from the binary, or say what differs",
        run: docs::run,
    },
    Command {
        name: "accept",
        arguments: "",
        about: "run the tests, then take every new snapshot",
        run: |_| gate::accept(),
    },
    Command {
        name: "dev",
        arguments: "[ARGUMENT...]",
        about: "a server on one's own machine: haulier serve --dev",
        run: gate::dev,
    },
    Command {
        name: "servers",
        arguments: "COMMAND [ARGUMENT...]",
        about: "start the servers that tests need, and run a command that finds them in its environment, such as a shell",
        run: gate::beside_servers,
    },
    Command {
        name: "bench",
        arguments: "[ROW...] [--scale N] [--rounds N] [--json FILE] [--binary FILE]",
        about: "the bars, each a ratio in one run, against the tools it is compared with",
        run: bench::run,
    },
    Command {
        name: "soak",
        arguments: "[ROUNDS] [DATABASE] | ceph | large-copy | histories [NUMBER]",
        about: "S3 against Ceph, a large copy inside a store, random histories; then kill -9, 1,000 times on each database",
        run: soak::run,
    },
    Command {
        name: "ci",
        arguments: "",
        about: "test, then compare docs/reference/ with the binary",
        run: |_| gate::ci(),
    },
];

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        list_commands();
        return std::process::ExitCode::SUCCESS;
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("there is no command {name}\n");
        list_commands();
        return std::process::ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo xtask {name}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn list_commands() {
    println!("cargo xtask COMMAND\n");
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        println!("  {usage:<28} {}", command.about);
    }
}
