//! The one temporary name that path and label lead to, in every store that has folders.
//!
//! Knows no store.

const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 100;
const TEMP_START: &str = ".haulier-";
const TEMP_END: &str = ".part";
/// Not longer than the end of temporary names.
const ASIDE_END: &str = ".old";

/// Whether a name is one that `temp_name` makes.
pub(crate) fn is_temp_name(name: &str) -> bool {
    name.starts_with(TEMP_START) && name.ends_with(TEMP_END) && !name.contains(['/', '\0'])
}

/// Whether a name is one that `temp_name` makes for a label, or for one that begins with it and a dash.
pub(crate) fn is_temp_name_of(name: &str, label: &str) -> bool {
    let start = temp_name(label, "");
    is_temp_name(name) && name.starts_with(start.strip_suffix(TEMP_END).unwrap_or(&start))
}

/// The name that an old version has for the moment between its replacement and its removal.
///
/// Not temporary: what a crash leaves there is listed, and removed by nobody.
pub(crate) fn aside_name(label: &str, target: &str) -> String {
    let temp = temp_name(label, target);
    format!("{}{ASIDE_END}", temp.strip_suffix(TEMP_END).unwrap_or(&temp))
}

/// The one temporary name of a label for a target: whoever knows both finds what a dead writer left.
pub(crate) fn temp_name(label: &str, target: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let label: String = label.chars().take(LABEL_BYTES_MAX).map(plain).collect();
    let room = NAME_BYTES_MAX - TEMP_START.len() - label.len() - 1 - TEMP_END.len();
    if target.len() <= room {
        return format!("{TEMP_START}{label}-{target}{TEMP_END}");
    }
    // Long names that begin alike must not share a temporary one, and every version of this program must
    // come to the same one: FNV-1a.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = target.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let mut cut = room - 17;
    while !target.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{TEMP_START}{label}-{}-{:016x}{TEMP_END}", &target[..cut], hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_fit_and_differ() {
        assert_eq!(temp_name("t/1", "a b"), ".haulier-t_1-a b.part");
        let (one, two) = (format!("{}1", "é".repeat(127)), format!("{}2", "é".repeat(127)));
        let (one, two) = (temp_name("label", &one), temp_name("label", &two));
        assert!(one.len() <= NAME_BYTES_MAX && is_temp_name(&one) && one != two);
        assert!(!is_temp_name(".haulier-/../x.part"));
        assert!(is_temp_name_of(&temp_name("label", "x"), "label") && !is_temp_name_of(&one, "lab"));
        assert!(!is_temp_name(&aside_name("label", "x")));
    }
}
