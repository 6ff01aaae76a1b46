//! How much code a compiled module has: the functions of its object file (ELF, 64 bits, little-endian).
//!
//! The section that holds them is padded to pages, of 64 KiB on Arm, and says nothing of small modules.

/// Fields of the file, of a section and of a symbol, by where they are (System V ABI, chapters 4 and 5).
const SECTIONS: usize = 0x28;
const SECTION_COUNT: usize = 0x3c;
const SECTION: usize = 0x40;
const KIND: usize = 0x04;
const OFFSET: usize = 0x18;
const SIZE: usize = 0x20;
const SYMBOL: usize = 24;
const SYMBOL_INFO: usize = 4;
const SYMBOL_SIZE: usize = 16;
/// The kind of a section that holds symbols, and that of a symbol that is a function.
const SYMBOLS: u32 = 2;
const FUNCTION: u8 = 2;

/// Why there is no size to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSize {
    #[error("it is no object file of 64 bits")]
    NotAnObject,
    #[error("it ends before what it announces")]
    Short,
    #[error("it names no function")]
    NoFunctions,
}

/// Bytes of all functions together.
pub(super) fn code_size(object: &[u8]) -> Result<u64, NoSize> {
    // The magic number, the class of 64 bits, and the order of bytes.
    object.strip_prefix(b"\x7fELF\x02\x01").ok_or(NoSize::NotAnObject)?;
    let (start, count) = (place(object, SECTIONS)?, u16::from_le_bytes(bytes(object, SECTION_COUNT)?));
    let mut total = 0_u64;
    for section in 0..usize::from(count) {
        let at = section.checked_mul(SECTION).and_then(|skip| skip.checked_add(start)).ok_or(NoSize::Short)?;
        let header = object.get(at..).ok_or(NoSize::Short)?;
        if u32::from_le_bytes(bytes(header, KIND)?) == SYMBOLS {
            let (from, length) = (place(header, OFFSET)?, place(header, SIZE)?);
            let symbols = object.get(from..).and_then(|rest| rest.get(..length)).ok_or(NoSize::Short)?;
            total = symbols
                .chunks_exact(SYMBOL)
                .map(function_size)
                .try_fold(total, |sum, size| Ok(sum.saturating_add(size?)))?;
        }
    }
    if total == 0 { Err(NoSize::NoFunctions) } else { Ok(total) }
}

/// Bytes of a symbol's function; none where it is something else.
fn function_size(symbol: &[u8]) -> Result<u64, NoSize> {
    let [info] = bytes(symbol, SYMBOL_INFO)?;
    if info & 0xf == FUNCTION { Ok(u64::from_le_bytes(bytes(symbol, SYMBOL_SIZE)?)) } else { Ok(0) }
}

/// A number of 64 bits that is a place in the file, or a length.
fn place(object: &[u8], at: usize) -> Result<usize, NoSize> {
    usize::try_from(u64::from_le_bytes(bytes(object, at)?)).map_err(|_| NoSize::Short)
}

fn bytes<const LENGTH: usize>(object: &[u8], at: usize) -> Result<[u8; LENGTH], NoSize> {
    object.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(NoSize::Short)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of one section of symbols: of what kind each is, and how long.
    fn object(symbols: &[(u8, u64)]) -> Vec<u8> {
        let mut object = vec![0; 0x40];
        object[..6].copy_from_slice(b"\x7fELF\x02\x01");
        object[SECTIONS..SECTIONS + 8].copy_from_slice(&0x40_u64.to_le_bytes());
        object[SECTION_COUNT..SECTION_COUNT + 2].copy_from_slice(&1_u16.to_le_bytes());
        let mut section = vec![0; SECTION];
        section[KIND..KIND + 4].copy_from_slice(&SYMBOLS.to_le_bytes());
        section[OFFSET..OFFSET + 8].copy_from_slice(&0x80_u64.to_le_bytes());
        section[SIZE..SIZE + 8].copy_from_slice(&u64::try_from(symbols.len() * SYMBOL).unwrap().to_le_bytes());
        object.extend(section);
        for (kind, size) in symbols {
            let mut symbol = vec![0; SYMBOL];
            symbol[SYMBOL_INFO] = *kind;
            symbol[SYMBOL_SIZE..].copy_from_slice(&size.to_le_bytes());
            object.extend(symbol);
        }
        object
    }

    #[test]
    fn the_size_is_that_of_all_functions_and_of_nothing_else() {
        // A local function, a section's own symbol, and a global function.
        assert_eq!(code_size(&object(&[(0x02, 100), (0x03, 7), (0x12, 20)])), Ok(120));
    }

    #[test]
    fn an_object_that_is_cut_off_has_no_size() {
        let whole = object(&[(0x02, 100), (0x02, 20)]);

        for length in 6..whole.len() {
            assert_eq!(code_size(&whole[..length]), Err(NoSize::Short), "{length}");
        }
    }

    #[test]
    fn what_is_no_object_or_has_no_function_is_told() {
        assert_eq!(code_size(b"\0asm\x01\0\0\0"), Err(NoSize::NotAnObject));
        assert_eq!(code_size(b""), Err(NoSize::NotAnObject));
        assert_eq!(code_size(&object(&[(0x03, 7)])), Err(NoSize::NoFunctions));
    }

    #[test]
    fn places_beyond_every_file_are_refused() {
        let mut object = object(&[(0x02, 100)]);
        object[SECTIONS..SECTIONS + 8].copy_from_slice(&u64::MAX.to_le_bytes());

        assert_eq!(code_size(&object), Err(NoSize::Short));
    }
}
