//! Patterns of names, such as of rooms, in configurations.

/// Whether `name` is what `pattern` says, where `*` is any run of characters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // Each part at its first place: if the whole fits in any way, it fits so.
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        let fit = [
            ("*", ""),
            ("*", "a"),
            ("a*", "a"),
            ("a*c", "abc"),
            ("*b*", "abc"),
            ("a**c", "ac"),
            ("*ab", "aab"),
            ("a*b*c", "axbbxc"),
            ("abc", "abc"),
            ("", ""),
        ];
        for (pattern, name) in fit {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let not = [
            ("a", "ab"),
            ("a*", "ba"),
            ("a*a", "a"),
            ("*b*", "ac"),
            ("*ab", "aba"),
            ("", "a"),
            ("ab*bc", "abc"),
            ("a*b*b", "ab"),
        ];
        for (pattern, name) in not {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
