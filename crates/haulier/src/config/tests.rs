//! What settings are understood, and what is said about those that are not.

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn write(text: &str) -> (tempfile::TempDir, NodeArgs) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haulier.toml");
    std::fs::write(&path, text).unwrap();
    (folder, NodeArgs { config: Some(path), ..NodeArgs::default() })
}

#[test]
fn safe_defaults_hold_without_a_file() {
    let config = Config::load(&NodeArgs::default(), &nothing).unwrap();
    assert_eq!(config.site, "local");
    assert_eq!(config.listen[0].address.to_string(), DEFAULT_LISTEN);
    assert_eq!((config.auth.mode, config.auth.tokens.len()), (Mode::Static, 0));
    assert!(config.files.roots.is_empty() && !config.network.allow_private);
    assert_eq!(config.remarks().len(), 2);
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let text = "site = \"file\"\n[database]\nurl = \"sqlite:file.db\"\n[[listen]]\naddress = \"127.0.0.1:1\"\n";
    let (_folder, mut args) = write(text);
    let from_file = Config::load(&args, &nothing).unwrap();
    assert_eq!((from_file.site.as_str(), from_file.database.url.reveal().as_str()), ("file", "sqlite:file.db"));
    assert_eq!(from_file.listen[0].address.port(), 1);

    args.site = Some("flag".to_owned());
    args.listen = vec!["localhost:2".to_owned()];
    let environment = |name: &str| (name == "HAULIER_DATABASE_URL").then(|| "sqlite:env.db".to_owned());
    let config = Config::load(&args, &environment).unwrap();
    assert_eq!((config.site.as_str(), config.database.url.reveal().as_str()), ("flag", "sqlite:env.db"));
    assert_eq!(config.listen[0].address.port(), 2);
}

#[test]
fn dev_opens_everything_but_only_on_this_machine() {
    let mut args = NodeArgs { dev: true, ..NodeArgs::default() };
    let config = Config::load(&args, &nothing).unwrap();
    assert_eq!(config.auth.mode, Mode::Open);
    assert!(config.allows_any_path() && config.network.allow_private);

    args.listen = vec!["0.0.0.0:3862".to_owned()];
    assert_eq!(Config::load(&args, &nothing).unwrap_err().0[0].place, "--dev");
}

#[test]
fn open_to_the_world_is_refused() {
    let (_folder, args) = write("[auth]\nmode = \"open\"\n[[listen]]\naddress = \"0.0.0.0:3862\"\n");
    assert_eq!(Config::load(&args, &nothing).unwrap_err().0[0].place, "auth.mode");
}

#[test]
fn secrets_come_from_files_and_environment_and_are_never_shown() {
    let text = "[database]\nurl = \"postgres://ann:hunter2@db/x\"\n[auth]\nmode = \"static\"\ntokens = [\n\
        { token = { file = \"token\" }, user = \"ann\" },\n{ token = { env = \"BOB\" }, user = \"bob\" } ]\n";
    let (folder, args) = write(text);
    std::fs::write(folder.path().join("token"), "hunter3\n").unwrap();
    let config = Config::load(&args, &|name| (name == "BOB").then(|| "hunter4".to_owned())).unwrap();
    let tokens: Vec<_> = config.auth.tokens.iter().map(|token| token.token.reveal().as_str()).collect();
    assert_eq!(tokens, ["hunter3", "hunter4"]);
    let shown = toml::to_string(&config).unwrap();
    assert!(!shown.contains("hunter") && shown.matches("***").count() == 3, "{shown}");
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let text = "sitee = \"x\"\nsite = 5\n[[listen]]\naddress = \"here\"\napis = [\"fax\"]\n\
        [auth]\nmode = \"magic\"\n[network]\nallow = [\"10.0.0.0/99\"]\n[transfer]\nslots = 0\nspeed = 1\n[fax]\n\
        [backup]\ntime_zone = \"Mars/Base\"\nsilent_minutes = 0\n";
    let (_folder, args) = write(text);
    let faults = Config::load(&args, &nothing).unwrap_err();
    let lines: Vec<_> = faults.0.iter().map(|f| f.place.rsplit(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "4", "5", "7", "9", "11", "12", "13", "15", "16"], "{faults}");
}
