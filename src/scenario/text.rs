//! Character sets of `str2bytes`, `bytes2str` and HTTP answers: UTF-8, US-ASCII, ISO 8859-1,
//! windows-1251, KOI8-R and UTF-16LE.

/// Text of bytes; `None` for a character set that is not supported.
pub fn decode(bytes: &[u8], charset: &str) -> Option<String> {
    let text = match Charset::named(charset)? {
        Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Charset::Ascii => bytes.iter().map(|byte| ascii(*byte)).collect(),
        Charset::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Charset::Table(upper) => {
            let upper: Vec<char> = upper.chars().collect();
            bytes.iter().map(|byte| upper_half(&upper, *byte)).collect()
        }
        Charset::Utf16Le => {
            let units = bytes.chunks(2).map(|pair| match *pair {
                [low, high] => u16::from_le_bytes([low, high]),
                _ => REPLACEMENT as u32 as u16,
            });
            char::decode_utf16(units).map(|unit| unit.unwrap_or(REPLACEMENT)).collect()
        }
    };
    Some(text)
}

/// Bytes of a text; what the character set lacks becomes `?`.
pub fn encode(text: &str, charset: &str) -> Option<Vec<u8>> {
    let within = |limit: u32| {
        let byte = |c: char| if u32::from(c) < limit { c as u8 } else { b'?' };
        text.chars().map(byte).collect()
    };
    let bytes = match Charset::named(charset)? {
        Charset::Utf8 => text.as_bytes().to_vec(),
        Charset::Ascii => within(0x80),
        Charset::Latin1 => within(0x100),
        Charset::Table(upper) => text.chars().map(|c| byte_of(upper, c)).collect(),
        Charset::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    };
    Some(bytes)
}

enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Characters of the bytes 128 to 255.
    Table(&'static str),
    Utf16Le,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Self::Utf8,
            "us-ascii" | "ascii" => Self::Ascii,
            "iso-8859-1" | "latin1" => Self::Latin1,
            "windows-1251" | "cp1251" => Self::Table(WINDOWS_1251),
            "koi8-r" => Self::Table(KOI8_R),
            "utf-16le" | "utf-16" => Self::Utf16Le,
            _ => return None,
        })
    }
}

fn ascii(byte: u8) -> char {
    if byte < 0x80 { char::from(byte) } else { REPLACEMENT }
}

fn upper_half(upper: &[char], byte: u8) -> char {
    match byte.checked_sub(0x80) {
        Some(place) => upper.get(usize::from(place)).copied().unwrap_or(REPLACEMENT),
        None => char::from(byte),
    }
}

fn byte_of(upper: &str, c: char) -> u8 {
    if c.is_ascii() {
        return c as u8;
    }
    let place = upper.chars().position(|other| other == c && other != REPLACEMENT);
    place.map_or(b'?', |place| 0x80 + place as u8)
}

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

const WINDOWS_1251: &str = "\
ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{FFFD}™љ›њќћџ\u{A0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{AD}®Ї°±Ііґµ¶·ё№є»јЅѕї\
АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя";

/// RFC 1489.
const KOI8_R: &str = "\
─│┌┐└┘├┤┬┴┼▀▄█▌▐░▒▓⌠■∙√≈≤≥\u{A0}⌡°²·÷═║╒ё╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡Ё╢╣╤╥╦╧╨╩╪╫╬©\
юабцдефгхийклмнопярстужвьызшэщчъЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_upper_128_characters() {
        assert_eq!(WINDOWS_1251.chars().count(), 128);
        assert_eq!(KOI8_R.chars().count(), 128);
    }

    #[test]
    fn cyrillic_is_read_in_both_old_character_sets() {
        // "Привет" as iconv writes it.
        let windows = [0xCF, 0xF0, 0xE8, 0xE2, 0xE5, 0xF2];
        let koi8 = [0xF0, 0xD2, 0xC9, 0xD7, 0xC5, 0xD4];
        assert_eq!(decode(&windows, "windows-1251").as_deref(), Some("Привет"));
        assert_eq!(decode(&koi8, "KOI8-R").as_deref(), Some("Привет"));
        assert_eq!(encode("Привет", "windows-1251").as_deref(), Some(windows.as_slice()));
        assert_eq!(encode("Привет", "koi8-r").as_deref(), Some(koi8.as_slice()));
        assert_eq!(encode("№ё", "windows-1251").as_deref(), Some([0xB9, 0xB8].as_slice()));
    }

    #[test]
    fn what_a_character_set_lacks_is_replaced() {
        assert_eq!(encode("aé漢", "us-ascii").as_deref(), Some(b"a??".as_slice()));
        assert_eq!(encode("aé漢", "iso-8859-1").as_deref(), Some([b'a', 0xE9, b'?'].as_slice()));
        assert_eq!(decode(&[0x61, 0xFF], "us-ascii").as_deref(), Some("a\u{FFFD}"));
        assert_eq!(decode(&[0x61, 0x00, 0x3D], "utf-16le").as_deref(), Some("a\u{FFFD}"));
        assert_eq!(encode("a\u{1F600}", "utf-16le").map(|bytes| bytes.len()), Some(6));
        assert_eq!(decode(b"x", "ebcdic"), None);
    }
}
