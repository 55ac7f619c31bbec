//! How long certificates are still valid.

use std::time::Duration;

use edge_core::{Timestamp, format_duration};

use super::{Facts, Outcome};
use crate::api::types::CertificateInfo;

/// Before its end an own certificate is renewed long since, and somebody's own is to be replaced.
const SOON: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn server(facts: &Facts) -> Outcome {
    look(facts, |certificate| certificate.role == "server")
}

pub(super) fn authorities(facts: &Facts) -> Outcome {
    look(facts, |certificate| certificate.role != "server")
}

fn look(facts: &Facts, which: fn(&CertificateInfo) -> bool) -> Outcome {
    let Ok(daemon) = &facts.daemon else {
        return Outcome::skipped("the daemon does not answer");
    };
    let certificates = daemon.certificates.certificates.iter();
    judge(
        certificates.filter(|certificate| which(certificate)),
        facts.now,
    )
}

fn judge<'a>(certificates: impl Iterator<Item = &'a CertificateInfo>, now: Timestamp) -> Outcome {
    let (mut errors, mut warnings, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for certificate in certificates {
        let CertificateInfo {
            role,
            subject,
            from,
            to,
            ..
        } = certificate;
        let name = format!("{role} certificate {subject}");
        let (Ok(begin), Ok(end)) = (from.parse::<Timestamp>(), to.parse::<Timestamp>()) else {
            errors.push(format!(
                "{name}: its validity, {from} to {to}, cannot be read"
            ));
            continue;
        };
        if now < begin {
            errors.push(format!(
                "{name} is not valid before {from}: is the clock right?"
            ));
        } else if now > end {
            errors.push(format!("{name} is not valid since {to}"));
        } else if end.since(now) < SOON {
            // Short ones are short on purpose: those count by their own life.
            let left = end.since(now);
            if left < end.since(begin) / 10 {
                let days = Duration::from_secs(left.as_secs() / 3_600 * 3_600);
                warnings.push(format!("{name} ends in {}", format_duration(days)));
            }
        }
        ends.push(to.clone());
    }
    let next = "the daemon renews its own: its journal says why it did not; yours ([certificates]) are to be replaced, it reads them again by itself";
    match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => {
            errors.extend(warnings);
            Outcome::error(errors.join("\n"), next)
        }
        (true, false) => Outcome::warning(warnings.join("\n"), next),
        (true, true) => match ends.into_iter().min() {
            Some(first) => Outcome::ok(format!("valid until {first}")),
            None => Outcome::skipped("there is none"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn certificates_are_judged_by_what_is_left_of_them() {
        let now: Timestamp = "2026-11-24T00:00:00Z".parse().expect("time");
        for (from, to, status) in [
            ("2026-11-01", "2027-02-01", Status::Ok),
            ("2026-11-20", "2026-11-26", Status::Ok),
            ("2026-08-26", "2026-11-25", Status::Warning),
            ("2026-08-01", "2026-11-23", Status::Error),
            ("2026-11-25", "2027-02-01", Status::Error),
        ] {
            let certificate = CertificateInfo {
                role: "server".to_owned(),
                subject: "CN=edge".to_owned(),
                issuer: "CN=ca".to_owned(),
                names: Vec::new(),
                from: format!("{from}T00:00:00.000Z"),
                to: format!("{to}T00:00:00.000Z"),
                thumbprint: String::new(),
            };
            let outcome = judge(std::iter::once(&certificate), now);
            assert_eq!(outcome.status, status, "{from} to {to}: {outcome:?}");
        }
        assert_eq!(judge(std::iter::empty(), now).status, Status::Skipped);
    }
}
