//! HTTP origins that a component may call.
//!
//! ```text
//! origin = ( "https" | "http" ) "://" host [ ":" port ]
//! host   = [ "*." ] name | IPv4 address | "[" IPv6 address "]"
//! ```
//!
//! `https://*.example.com` allows every name that ends in `.example.com`, not `example.com` itself.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads an origin. It comes back in lower case, without the port if that is the scheme's own, so
/// that equal origins are equal text.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(crate) fn parse(text: &str) -> Result<String, (String, Option<String>)> {
    let lower = text.to_ascii_lowercase();
    let (scheme, own_port, rest) = if let Some(rest) = lower.strip_prefix("https://") {
        ("https", 443, rest)
    } else if let Some(rest) = lower.strip_prefix("http://") {
        ("http", 80, rest)
    } else {
        let hint =
            (!text.is_empty() && !text.contains("://")).then(|| format!("write https://{text}"));
        return Err(("expected https:// or http:// at the start".to_owned(), hint));
    };
    if let Some(end) = rest.find(['/', '?', '#', '\\']) {
        return Err((
            "expected scheme, host and port only, without a path".to_owned(),
            Some(format!("write {scheme}://{}", &rest[..end])),
        ));
    }
    if rest.contains('@') {
        return Err(("expected no user name".to_owned(), None));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            // `+80` is a number to the standard library.
            Ok(n) if n > 0 && port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(n).filter(|n| *n != own_port)
            }
            _ => return Err(("expected a port from 1 to 65535".to_owned(), None)),
        },
    };
    check_host(host)?;
    Ok(match port {
        None => format!("{scheme}://{host}"),
        Some(port) => format!("{scheme}://{host}:{port}"),
    })
}

fn check_host(host: &str) -> Result<(), (String, Option<String>)> {
    if let Some(address) = host.strip_prefix('[') {
        return match address.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
            Some(Ok(_)) => Ok(()),
            _ => Err(("expected an IPv6 address between [ and ]".to_owned(), None)),
        };
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.contains('*') {
        return Err((
            "a * may stand for the first labels of a name only".to_owned(),
            Some("write https://*.example.com".to_owned()),
        ));
    }
    if !name.is_ascii() {
        return Err((
            "expected a host name in ASCII".to_owned(),
            Some("names in other letters are written in punycode: xn--…".to_owned()),
        ));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    let good = if numeric {
        // What ends in a number is an address, or nothing (URL standard, "host parsing").
        name.len() == host.len() && name.parse::<Ipv4Addr>().is_ok()
    } else {
        name.len() <= 253 && name.split('.').all(label)
    };
    if good {
        Ok(())
    } else {
        Err(("expected a host name or an address".to_owned(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_scheme_and_host_and_nothing_else() {
        for (text, origin) in [
            ("https://api.example", "https://api.example"),
            ("HTTPS://API.Example:443", "https://api.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://*.example.com", "https://*.example.com"),
            ("http://localhost", "http://localhost"),
            ("https://a.example:80", "https://a.example:80"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(origin), "{text}");
        }
        for bad in [
            "",
            "*",
            "api.example",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://a:0",
            "https://a:65536",
            "https://a:+80",
            "https://a:",
            "https://*",
            "https://a.*.b",
            "https://*a.b",
            "https://*.*.b",
            "https://*.",
            "https://a..b",
            "https://-a",
            "https://ä.example",
            "https://1.2.3",
            "https://1.2.3.4.5",
            "https://*.1.2.3.4",
            "https://[1]",
            "https://[::1",
            "https://a b",
            "https://a\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
