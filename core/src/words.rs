//! The words that all of it shares.

/// The argument of `websocket_guard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is changed. What fails is diagnosed; what is written by hand is audited.
    #[default]
    Off,
    /// Audited and diagnosed, and left as it is.
    Check,
    /// Guarded: given what an upgrade needs. Other requests keep their own settings.
    Auto,
    /// Guarded: given all that a realtime location needs.
    On,
}

impl Mode {
    /// Every mode, by the word that the directive has for it.
    pub const WORDS: [(&'static str, Self); 4] =
        [("off", Self::Off), ("check", Self::Check), ("auto", Self::Auto), ("on", Self::On)];

    /// Whether the guard changes what such a location does.
    pub fn is_guarded(self) -> bool {
        matches!(self, Self::Auto | Self::On)
    }
}

/// Where a location's `websocket_guard` stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marked {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In a level above.
    Above,
    /// In the location itself.
    Here,
}

/// A position in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    /// The file, as nginx names it (`cf->conf_file->file.name`).
    pub file: &'a [u8],
    /// The line in it, from 1.
    pub line: u32,
}

/// Where a value was set. The place is that of the directive, if it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetAt<'a> {
    /// Nowhere: it is nginx's default.
    #[default]
    Default,
    /// In a level above the location: `http`, `server`, or the location around it.
    Above(Option<Place<'a>>),
    /// In the location itself.
    Here(Option<Place<'a>>),
    /// By the guard, or by one of the `websocket_guard_*` directives.
    Guard,
}

/// Whether the name of a location says that clients fall back to polling there: such a client needs
/// the same backend again, and sends with POST.
pub fn is_polled(location: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"socket.io",
        b"engine.io",
        b"sockjs",
        b"signalr",
        b"negotiate",
        b"primus",
        b"cometd",
        b"faye",
        b"atmosphere",
        b"_blazor",
    ];
    // In a regular expression a dot has a backslash in front. Requests ask this, too: nothing is allocated.
    let mut rest = location.iter().filter(|byte| **byte != b'\\');
    loop {
        let begins_with = |known: &&[u8]| {
            let mut here = rest.clone();
            known.iter().all(|byte| here.next().is_some_and(|it| it.eq_ignore_ascii_case(byte)))
        };
        if NAMES.iter().any(begins_with) {
            return true;
        }
        if rest.next().is_none() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_polled;

    #[test]
    fn names_of_polling() {
        for name in
            ["/socket.io/", "~ ^/engine\\.io", "/app/SignalR", "/_blazor", "/chatHub/negotiate"]
        {
            assert!(is_polled(name.as_bytes()), "{name}");
        }
        for name in ["/", "/ws", "/socket", "/socketXio/", "/blazor"] {
            assert!(!is_polled(name.as_bytes()), "{name}");
        }
    }
}
