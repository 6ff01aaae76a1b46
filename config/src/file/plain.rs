//! Plain scalars by the core schema of YAML 1.2: `on`, `no`, `yes` and `off` are text.
//! Quoted scalars never come here; they are text always.

use serde_json::Number;

/// What a plain scalar stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    Number(Number),
    /// A number without a JSON form: too large, infinite, or none at all.
    OutOfRange,
    Text,
}

/// Whether an unquoted scalar stands for itself.
pub(crate) fn is_text(text: &str) -> bool {
    plain(text) == Plain::Text
}

/// Resolves an unquoted scalar. YAML 1.2.2, section 10.3.2.
pub(crate) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Plain::OutOfRange,
        _ => number(text),
    }
}

fn number(text: &str) -> Plain {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Plain::OutOfRange;
    }
    if is_digits(unsigned) {
        return integer(text.strip_prefix('+').unwrap_or(text));
    }
    if is_float(unsigned) {
        return float(text);
    }
    Plain::Text
}

fn radix(digits: &str, radix: u32) -> Plain {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Plain::Text;
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) => Plain::Number(value.into()),
        Err(_) => Plain::OutOfRange,
    }
}

fn integer(text: &str) -> Plain {
    let signed = text.parse::<i64>().map(Number::from);
    match signed.or_else(|_| text.parse::<u64>().map(Number::from)) {
        Ok(number) => Plain::Number(number),
        Err(_) => Plain::OutOfRange,
    }
}

fn float(text: &str) -> Plain {
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map_or(Plain::OutOfRange, Plain::Number)
}

/// `[0-9]+ ( \. [0-9]* )? ( [eE] [-+]? [0-9]+ )?` or the same with the dot first.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent_fits =
        exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = match (whole.is_empty(), fraction.is_empty()) {
        (true, _) => is_digits(fraction),
        (false, true) => is_digits(whole),
        (false, false) => is_digits(whole) && is_digits(fraction),
    };
    mantissa_fits && exponent_fits
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_core_words_are_booleans() {
        for word in ["on", "off", "yes", "no", "y", "n", "On", "NO", "tRUE"] {
            assert_eq!(plain(word), Plain::Text, "{word}");
        }
        assert_eq!(plain("true"), Plain::Bool(true));
        assert_eq!(plain("False"), Plain::Bool(false));
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        assert_eq!(plain("0123"), Plain::Number(123.into()));
        assert_eq!(plain("-7"), Plain::Number((-7).into()));
        assert_eq!(plain("+7"), Plain::Number(7.into()));
        assert_eq!(plain("0x1F"), Plain::Number(31.into()));
        assert_eq!(plain("0o17"), Plain::Number(15.into()));
        assert_eq!(plain("18446744073709551615"), Plain::Number(u64::MAX.into()));
        for (text, value) in [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1e3", -1000.0), ("2E-1", 0.2)] {
            assert_eq!(Some(plain(text)), Number::from_f64(value).map(Plain::Number), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in ["1:30", "1_000", "0b1", "0x", "1e", ".", "-", "1.2.3", "127.0.0.1:80", "5ms", "inf", "nan"] {
            assert_eq!(plain(text), Plain::Text, "{text}");
        }
    }

    #[test]
    fn a_number_without_a_json_form_is_out_of_range() {
        for text in ["18446744073709551616", "-9223372036854775809", "1e999", ".inf", "-.Inf", ".nan"] {
            assert_eq!(plain(text), Plain::OutOfRange, "{text}");
        }
    }
}
