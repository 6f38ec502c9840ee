//! Addresses wherever they stand in a text.

/// One address: `scheme://authority`, with the places of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    scheme: usize,
    authority: usize,
    end: usize,
}

/// The addresses of a text up to their paths, as in `redis://user:password@host:6379`.
pub(crate) fn addresses(text: &str) -> impl Iterator<Item = &str> {
    places(text).map(|place| &text[place.scheme..place.end])
}

/// Whether an address is one of this machine alone.
pub(crate) fn is_here(address: &str) -> bool {
    let url = url::Url::parse(address).ok();
    match url.as_ref().and_then(url::Url::host) {
        // Of a scheme that the parser does not know an address of numbers is a name.
        Some(url::Host::Domain(name)) => {
            let ip = name.parse::<std::net::IpAddr>();
            name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        }
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The text with the password of each address in it replaced.
pub(super) fn without_passwords(text: &str, mask: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for place in places(text) {
        let authority = &text[place.authority..place.end];
        let user_info = authority.rfind('@').map(|end| &authority[..end]);
        if let Some((user, password)) = user_info.and_then(|info| info.split_once(':'))
            && !password.is_empty()
        {
            let begin = place.authority + user.len() + 1;
            out.push_str(&text[kept..begin]);
            out.push_str(mask);
            kept = begin + password.len();
        }
    }
    out + &text[kept..]
}

fn places(text: &str) -> impl Iterator<Item = Place> {
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    let ends = |c: char| c.is_whitespace() || "/?#\"'`<>\\|".contains(c);
    text.match_indices("://").filter_map(move |(colon, _)| {
        let scheme = text[..colon].trim_end_matches(of_scheme).len();
        let authority = colon + 3;
        let end = text[authority..]
            .find(ends)
            .map_or(text.len(), |length| authority + length);
        (scheme < colon && authority < end).then_some(Place {
            scheme,
            authority,
            end,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_replaced_wherever_an_address_stands() {
        for (text, expected) in [
            (
                "at redis://a:pw@h:1/2, done",
                "at redis://a:***@h:1/2, done",
            ),
            ("--redis=redis://:p@ss@h", "--redis=redis://:***@h"),
            ("{\"u\":\"http://u:x@h\"}", "{\"u\":\"http://u:***@h\"}"),
            ("a://u:1@h b://u:2@h", "a://u:***@h b://u:***@h"),
            ("http://h/a:b@c", "http://h/a:b@c"),
            (
                "http://user@h http://[::1]:80/",
                "http://user@h http://[::1]:80/",
            ),
            ("redis://:***@h ://x:y@z", "redis://:***@h ://x:y@z"),
        ] {
            assert_eq!(without_passwords(text, "***"), expected);
        }
    }

    #[test]
    fn addresses_are_found_inside_arguments() {
        let found: Vec<_> = addresses("--to=http://a:1/x --db 'redis://[::1]:2'").collect();
        assert_eq!(found, ["http://a:1", "redis://[::1]:2"]);
    }
}
