//! Which local voice speaks for one of the cloud's (VoxEngine reference, section 16).
//!
//! In this order: what the config maps by the full name, by locale and gender, by locale, by
//! language; else what the engine itself has for the locale, then for the language.

/// What a script's voice says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voice {
    /// As the script gave it: `Amazon.en_US_Joanna`, `US_ENGLISH_FEMALE`.
    pub name: String,
    /// ISO 639, in lower case: `en`, `cmn`; empty: unknown.
    pub language: String,
    /// Upper case: `US`; empty: none.
    pub region: String,
    pub gender: Option<Gender>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gender {
    Female,
    Male,
}

impl Voice {
    /// A `Provider[.Neural].locale_Name` of VoiceList or a constant of Language.
    pub fn parse(name: &str) -> Self {
        let constant = name.rsplit('.').next().unwrap_or_default();
        let voice = Self::from_locale(constant).or_else(|| Self::from_words(constant));
        let mut voice = Self { name: name.to_owned(), ..voice.unwrap_or_default() };
        if name.starts_with(FIRST_NAMES) && voice.gender.is_none() {
            let first_name = constant.rsplit('_').next().unwrap_or_default();
            let is_male = MEN.contains(&first_name);
            voice.gender = Some(if is_male { Gender::Male } else { Gender::Female });
        }
        voice
    }

    /// `en_US_Joanna`, `arb_Zeina`, `de_DE_Female`.
    fn from_locale(constant: &str) -> Option<Self> {
        let (language, rest) = constant.split_once('_')?;
        let is_language =
            matches!(language.len(), 2 | 3) && language.bytes().all(|b| b.is_ascii_lowercase());
        if !is_language {
            return None;
        }
        let is_region = |part: &&str| {
            let is_upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            (2..=4).contains(&part.len()) && part.bytes().all(is_upper)
        };
        let region = rest.split('_').next().filter(is_region).unwrap_or_default();
        let gender = match () {
            () if rest.ends_with("Female") => Some(Gender::Female),
            () if rest.ends_with("Male") => Some(Gender::Male),
            () => None,
        };
        let (language, region) = (language.to_owned(), region.to_owned());
        Some(Self { language, region, gender, ..Self::default() })
    }

    /// `US_ENGLISH_FEMALE`, `EUR_GERMAN_MALE`.
    fn from_words(constant: &str) -> Option<Self> {
        let mut words = constant.split('_');
        let (country, language) = (words.next()?, words.next()?);
        let (_, language) = LANGUAGES.iter().find(|(word, _)| *word == language)?;
        let region = match country {
            "UK" => "GB",
            "CH" => "CN",
            "SW" => "SE",
            "EUR" => "",
            country if country.len() == 2 => country,
            _ => "",
        };
        let gender = match words.next() {
            Some("FEMALE") => Some(Gender::Female),
            Some("MALE") => Some(Gender::Male),
            _ => None,
        };
        let (language, region) = ((*language).to_owned(), region.to_owned());
        Some(Self { language, region, gender, ..Self::default() })
    }

    /// `en_US`, `arb`; empty: unknown.
    pub fn locale(&self) -> String {
        match self.region.as_str() {
            "" => self.language.clone(),
            region => format!("{}_{region}", self.language),
        }
    }

    /// The voice that the config names for it; `voices` as `[tts] voices` has them.
    pub fn mapped<'a>(&self, voices: &'a [(String, String)]) -> Option<&'a str> {
        let locale = self.locale();
        let gender = match self.gender {
            Some(Gender::Female) => Some("female"),
            Some(Gender::Male) => Some("male"),
            None => None,
        };
        let gendered = gender.map(|gender| format!("{locale}-{gender}"));
        let keys = [Some(&self.name), gendered.as_ref(), Some(&locale), Some(&self.language)];
        let find = |key: &String| {
            let is_same = |(name, _): &&(String, String)| !key.is_empty() && is_same(name, key);
            voices.iter().find(is_same).map(|(_, voice)| voice.as_str())
        };
        keys.into_iter().flatten().find_map(find)
    }

    /// The engine's own names to try, the best first, the last one always there: BCP 47 in lower
    /// case, as espeak-ng has them.
    pub fn espeak_names(&self) -> Vec<String> {
        let (language, region) = (self.language.as_str(), self.region.as_str());
        let special = match (language, region) {
            ("zh", "HK") => "yue",
            ("zh" | "cmn", _) => "cmn",
            ("arb", _) => "ar",
            ("no" | "nn", _) => "nb",
            ("fil", _) => "tl",
            ("es", "ES" | "") => "es",
            ("es", _) => "es-419",
            _ => "",
        };
        let mut names = Vec::new();
        if !region.is_empty() {
            names.push(format!("{language}-{}", region.to_ascii_lowercase()));
        }
        names.extend([special, language, DEFAULT].map(str::to_owned));
        names.retain(|name| !name.is_empty());
        names
    }

    /// Picks from pico2wave's six languages; the default where it has none.
    pub fn pico_name(&self) -> &'static str {
        match (self.language.as_str(), self.region.as_str()) {
            ("en", "GB" | "AU" | "IN" | "NZ" | "IE" | "ZA") => "en-GB",
            ("de", _) => "de-DE",
            ("es", _) => "es-ES",
            ("fr", _) => "fr-FR",
            ("it", _) => "it-IT",
            _ => "en-US",
        }
    }
}

/// Keys are written `en-US` or `en_us`.
fn is_same(one: &str, other: &str) -> bool {
    let letter = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.bytes().map(letter).eq(other.bytes().map(letter))
}

/// Whose voices are called by a first name; the default voice of the API is one of them.
const FIRST_NAMES: &str = "Amazon.";

/// Those of them that are men's.
const MEN: &[&str] = &[
    "Adriano",
    "Andres",
    "Arthur",
    "Brian",
    "Cristiano",
    "Daniel",
    "Enrique",
    "Geraint",
    "Giorgio",
    "Gregory",
    "Hans",
    "Jacek",
    "Jan",
    "Joey",
    "Justin",
    "Karl",
    "Kevin",
    "Liam",
    "Mads",
    "Mathieu",
    "Matthew",
    "Maxim",
    "Miguel",
    "Pedro",
    "Remi",
    "Ricardo",
    "Ruben",
    "Russell",
    "Sergio",
    "Stephen",
    "Takumi",
    "Thiago",
    "Zayd",
];

/// The cloud's default voice is American.
const DEFAULT: &str = "en-us";

const LANGUAGES: &[(&str, &str)] = &[
    ("CATALAN", "ca"),
    ("CHINESE", "zh"),
    ("CZECH", "cs"),
    ("DANISH", "da"),
    ("DUTCH", "nl"),
    ("ENGLISH", "en"),
    ("FINNISH", "fi"),
    ("FRENCH", "fr"),
    ("GERMAN", "de"),
    ("HUNGARIAN", "hu"),
    ("ITALIAN", "it"),
    ("JAPANESE", "ja"),
    ("KOREAN", "ko"),
    ("NORWEGIAN", "nb"),
    ("POLISH", "pl"),
    ("PORTUGUESE", "pt"),
    ("RUSSIAN", "ru"),
    ("SPANISH", "es"),
    ("SWEDISH", "sv"),
    ("TURKISH", "tr"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> (String, Option<Gender>) {
        let voice = Voice::parse(name);
        assert_eq!(voice.name, name);
        (voice.locale(), voice.gender)
    }

    #[test]
    fn names_of_voicelist_carry_their_locale() {
        use Gender::*;
        let cases = [
            ("Amazon.en_US_Joanna", "en_US", Some(Female)),
            ("Amazon.Neural.en_US_Matthew", "en_US", Some(Male)),
            ("Amazon.Neural.en_US_Danielle", "en_US", Some(Female)),
            ("Amazon.arb_Zeina", "arb", Some(Female)),
            ("Default.de_DE_Female", "de_DE", Some(Female)),
            ("Default.ru_RU_Male", "ru_RU", Some(Male)),
            ("Google.cmn_CN_Wavenet_A", "cmn_CN", None),
            ("IBM.Neural.es_LA_DanielaExpressive", "es_LA", None),
            ("ElevenLabs.Alice", "", None),
            ("", "", None),
            ("..._", "", None),
        ];
        for (name, locale, gender) in cases {
            assert_eq!(parsed(name), (locale.into(), gender), "{name}");
        }
    }

    #[test]
    fn constants_of_language_carry_their_words() {
        use Gender::*;
        let cases = [
            ("US_ENGLISH_FEMALE", "en_US", Some(Female)),
            ("UK_ENGLISH_MALE", "en_GB", Some(Male)),
            ("CH_CHINESE_FEMALE", "zh_CN", Some(Female)),
            ("SW_SWEDISH_FEMALE", "sv_SE", Some(Female)),
            ("EUR_GERMAN_MALE", "de", Some(Male)),
            ("EUR_KLINGON_MALE", "", None),
        ];
        for (name, locale, gender) in cases {
            assert_eq!(parsed(name), (locale.into(), gender), "{name}");
        }
    }

    #[test]
    fn the_config_is_asked_from_the_full_name_to_the_language() {
        let pair = |key: &str, voice: &str| (key.to_owned(), voice.to_owned());
        let voices = [
            pair("en", "any"),
            pair("en-US", "american"),
            pair("en_us_female", "american woman"),
            pair("Amazon.en_US_Joanna", "joanna"),
        ];
        let mapped = |name: &str| Voice::parse(name).mapped(&voices);
        assert_eq!(mapped("Amazon.en_US_Joanna"), Some("joanna"));
        assert_eq!(mapped("Default.en_US_Female"), Some("american woman"));
        assert_eq!(mapped("US_ENGLISH_FEMALE"), Some("american woman"));
        assert_eq!(mapped("Default.en_US_Male"), Some("american"));
        assert_eq!(mapped("Amazon.en_AU_Nicole"), Some("any"));
        assert_eq!(mapped("Amazon.de_DE_Marlene"), None);
        assert_eq!(mapped(""), None);
    }

    #[test]
    fn engines_are_asked_for_what_they_have() {
        let names = |name: &str| Voice::parse(name).espeak_names();
        assert_eq!(names("Amazon.en_GB_Amy"), ["en-gb", "en", "en-us"]);
        assert_eq!(names("Amazon.arb_Zeina"), ["ar", "arb", "en-us"]);
        assert_eq!(names("x.es_MX_Mia"), ["es-mx", "es-419", "es", "en-us"]);
        assert_eq!(names("x.zh_TW_YunJheNeural"), ["zh-tw", "cmn", "zh", "en-us"]);
        assert_eq!(names("ElevenLabs.Alice"), ["en-us"]);
        assert_eq!(Voice::parse("Default.de_AT_Male").pico_name(), "de-DE");
        assert_eq!(Voice::parse("Default.ru_RU_Male").pico_name(), "en-US");
    }
}
