//! Where the catalogue lives.

use std::path::{Path, PathBuf};

use haulier_base::{Error, Result, Secret};

/// A SQLite file or a PostgreSQL database.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// The path of a SQLite database file.
    Sqlite(PathBuf),
    /// A connection URL, which may hold a password.
    Postgres(Secret<String>),
}

impl DatabaseUrl {
    /// Reads `sqlite:<path>`, `postgres://…` or `postgresql://…`.
    ///
    /// A relative path starts at `data_dir`; an empty text means `haulier.db` in it.
    pub fn parse(text: &str, data_dir: &Path) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::Sqlite(data_dir.join("haulier.db")));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text.to_owned())));
        }
        match text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(data_dir.join(path))),
            // The text is not repeated: it may hold a password in a misspelled URL.
            _ => Err(Error::invalid("a database URL is sqlite:<path> or postgres://user@host/database")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds_and_nothing_else() {
        let data = Path::new("/data");
        let path = |text| match DatabaseUrl::parse(text, data).unwrap() {
            DatabaseUrl::Sqlite(path) => path,
            DatabaseUrl::Postgres(_) => panic!("{text} is SQLite"),
        };
        assert_eq!(path(""), Path::new("/data/haulier.db"));
        assert_eq!(path("sqlite:a.db"), Path::new("/data/a.db"));
        assert_eq!(path("sqlite:///srv/a.db"), Path::new("/srv/a.db"));
        assert!(matches!(DatabaseUrl::parse("postgres://u:p@h/d", data), Ok(DatabaseUrl::Postgres(_))));
        for bad in ["mysql://u:secret@h/d", "sqlite:", "a.db"] {
            let error = DatabaseUrl::parse(bad, data).unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
    }
}
