//! Typed text identifiers, and the one place that makes random ones.

/// A fresh random UUID, version 4, as 36 lower-case characters.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes identifiers")]
pub fn random_uuid() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

/// A fresh UUID, version 7, so that identifiers sort by creation.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes identifiers")]
pub fn ordered_uuid() -> String {
    uuid::Uuid::now_v7().hyphenated().to_string()
}

/// Whether a text is a UUID in its canonical form: 36 characters, lower case, hyphens.
pub fn is_canonical_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// Defines a typed text identifier: `id!(/// doc; TransferId)`.
#[macro_export]
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a text as it is.
            pub fn from_text(text: impl Into<String>) -> Self { Self(text.into()) }
            /// The text form.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_passes() {
        let id = random_uuid();
        assert!(is_canonical_uuid(&id));
        assert!(!is_canonical_uuid(&id.to_uppercase()));
        assert!(!is_canonical_uuid(&id.replace('-', "")));
        assert!(!is_canonical_uuid("a/../b"));
    }

    #[test]
    fn ordered_identifiers_sort_by_creation() {
        let made: Vec<_> = (0..100).map(|_| ordered_uuid()).collect();
        assert!(made.is_sorted());
    }
}
