//! Which encoding a text has that is not in the one that the job says, for hints only: nothing is
//! read by a guess.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK, SHIFT_JIS};

use crate::Charset;

/// The most bytes that are examined.
const SAMPLE: usize = 64 << 10;

/// The line that sets the probable encoding of a text which is not UTF-8, as a question.
pub(crate) fn hint(text: &[u8]) -> Option<String> {
    guess(text).map(question)
}

/// The line that sets an encoding, as a question.
pub(crate) fn question(charset: Charset) -> String {
    let name = charset.name();
    format!("is it {}? encoding = \"{name}\"", name.to_uppercase())
}

/// The probable encoding of a text; `None` for UTF-8, and where nothing fits.
pub fn guess(text: &[u8]) -> Option<Charset> {
    let text = &text[..text.len().min(SAMPLE)];
    match std::str::from_utf8(text) {
        Ok(text) if !text.contains('\0') => return None,
        Err(cut) if cut.error_len().is_none() && !text.contains(&0) => return None,
        _ => {}
    }
    if let Some(charset) = wide(text) {
        return Some(charset);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(text, false);
    let text = whole_lines(text);
    let found = detector.guess(None, Utf8Detection::Deny);
    let reads = |encoding: &'static Encoding| {
        let (decoded, malformed) = encoding.decode_without_bom_handling(text);
        (!malformed).then_some(decoded)
    };
    let decoded = reads(found)?;
    let encoding = if is_unlike(found, &decoded) && reads(GBK).is_some() { GBK } else { found };
    encoding.name().parse().ok()
}

/// Whether a text lacks the letters that every text of its language has: a few Chinese names are
/// valid in the encodings of other languages as well.
fn is_unlike(encoding: &'static Encoding, text: &str) -> bool {
    let kana = |it: char| matches!(it, '\u{3040}'..='\u{30FF}');
    let hangul = |it: char| matches!(it, '\u{AC00}'..='\u{D7A3}');
    match encoding {
        _ if encoding == EUC_JP || encoding == SHIFT_JIS => !text.contains(kana),
        _ if encoding == EUC_KR => !text.contains(hangul),
        _ => false,
    }
}

/// UTF-16, by its byte order mark, or by the zeros beside its ASCII characters.
fn wide(text: &[u8]) -> Option<Charset> {
    if text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
        return Some(Charset::Utf16);
    }
    let zeros = |odd: usize| text.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    match (zeros(0), zeros(1)) {
        // a character such as U+4E00 has a zero on the other side
        (even, odd) if odd > 1 + 4 * even => Some(Charset::Utf16Le),
        (even, odd) if even > 1 + 4 * odd => Some(Charset::Utf16Be),
        _ => None,
    }
}

/// Without a last line that may be cut off within a character.
fn whole_lines(text: &[u8]) -> &[u8] {
    memchr::memrchr(b'\n', text).map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_known_by_real_texts() {
        let chinese = "编号,客户,城市,备注\n1,王伟,北京,第一次下单\n2,李娜,上海,请尽快发货\n";
        let taiwan = "編號,客戶,城市,備註\n1,王偉,臺北,第一次下單\n2,李娜,高雄,請儘快發貨\n";
        let japanese =
            "番号,顧客,都市,備考\n1,田中さん,東京,はじめての注文です\n2,鈴木,大阪,お急ぎください\n";
        let korean = "번호,고객,도시\n1,김철수,서울\n2,이영희,부산에서 보냈습니다\n";
        let names = "id,客户\n1,王伟\n2,李娜\n";
        let french = "numéro,client,ville\n1,Hélène,Besançon\n2,François,Orléans déjà livré\n";
        let russian = "номер,клиент,город\n1,Иван Петров,Москва\n2,Анна,Санкт-Петербург\n";
        for (text, encoding, expected) in [
            (chinese, encoding_rs::GBK, "gbk"),
            (chinese, encoding_rs::GB18030, "gbk"),
            (names, encoding_rs::GBK, "gbk"),
            (taiwan, encoding_rs::BIG5, "big5"),
            (japanese, encoding_rs::SHIFT_JIS, "shift_jis"),
            (japanese, encoding_rs::EUC_JP, "euc-jp"),
            (korean, encoding_rs::EUC_KR, "euc-kr"),
            (french, encoding_rs::WINDOWS_1252, "windows-1252"),
            (russian, encoding_rs::WINDOWS_1251, "windows-1251"),
        ] {
            let (bytes, _, unmappable) = encoding.encode(text);
            assert!(!unmappable);
            assert_eq!(guess(&bytes).map(Charset::name), Some(expected), "{}", encoding.name());
            let charset: Charset = expected.parse().unwrap();
            let mut out = Vec::new();
            crate::Transcoder::new(charset, crate::Invalid::Dirty)
                .push(&bytes, true, &mut out)
                .unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let units = || chinese.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        assert_eq!(guess(&little), Some(Charset::Utf16Le));
        assert_eq!(guess(&big), Some(Charset::Utf16Be));
        assert_eq!(guess(&[b"\xFF\xFE", &little[..]].concat()), Some(Charset::Utf16));
        assert_eq!(guess(chinese.as_bytes()), None);
        assert_eq!(guess(&chinese.as_bytes()[..8]), None);
        assert_eq!(guess(b"a,b\n1,2\n"), None);
        assert_eq!(
            hint(&encoding_rs::GBK.encode(chinese).0).unwrap(),
            "is it GBK? encoding = \"gbk\""
        );
    }
}
