//! What a run of the suite found: for people, as JSON, and as JUnit XML for build servers.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::acm::conformance::{Case, Ending};
use crate::acm::error::Feature;
use crate::base::text::escaped;

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Who spoke to the box.
    pub(super) driver: String,
    /// Where the box is.
    pub(super) target: String,
    /// How long it took.
    pub(super) seconds: f64,
    /// How many cases ended in which way.
    pub(super) counts: Counts,
    /// What the box says it cannot do.
    pub(super) cannot: Vec<Feature>,
    /// Each case, in the order of the suite.
    pub(super) cases: Vec<CaseReport>,
}

/// How many cases ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Counts {
    /// As they should.
    pub(super) passed: usize,
    /// About something the box cannot do.
    pub(super) cannot: usize,
    /// Not run.
    pub(super) skipped: usize,
    /// Not as they should.
    pub(super) failed: usize,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CaseReport {
    /// What it claims.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) about: &'static str,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// What the box cannot do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) feature: Option<Feature>,
    /// Why it ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// How long it took.
    pub(super) seconds: f64,
    /// What was said to the box and by it around a failure, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) transcript: Vec<String>,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should.
    Passed,
    /// It is about something the box cannot do.
    Cannot,
    /// Not run.
    Skipped,
    /// Not as it should.
    Failed,
}

impl CaseReport {
    /// A case that ended. The transcript is kept only if it failed.
    pub(super) fn new(case: &Case, ending: Ending, took: Duration, transcript: Vec<String>) -> CaseReport {
        let (outcome, feature, why) = match ending {
            Ending::Passed => (Outcome::Passed, None, None),
            Ending::Cannot { feature, why } => (Outcome::Cannot, Some(feature), Some(why)),
            Ending::Skipped(why) => (Outcome::Skipped, None, Some(why)),
            Ending::Failed(why) => (Outcome::Failed, None, Some(why)),
        };
        let transcript = if outcome == Outcome::Failed { transcript } else { vec![] };
        let (name, about) = (case.name, case.room.as_str());
        CaseReport { name, about, outcome, feature, why, seconds: took.as_secs_f64(), transcript }
    }

    /// Feature and reason as one text.
    fn because(&self) -> String {
        let feature = self.feature.map(|feature| feature.to_string());
        let words: Vec<_> = feature.as_deref().into_iter().chain(self.why.as_deref()).collect();
        escaped(&words.join(": "))
    }
}

impl Report {
    /// The report of these cases.
    pub(super) fn new(driver: String, target: String, took: Duration, cases: Vec<CaseReport>) -> Report {
        let mut counts = Counts::default();
        let mut cannot = Vec::new();
        for case in &cases {
            *match case.outcome {
                Outcome::Passed => &mut counts.passed,
                Outcome::Cannot => &mut counts.cannot,
                Outcome::Skipped => &mut counts.skipped,
                Outcome::Failed => &mut counts.failed,
            } += 1;
        }
        for feature in Feature::ALL {
            if cases.iter().any(|case| case.feature == Some(feature)) {
                cannot.push(feature);
            }
        }
        Report { driver, target, seconds: took.as_secs_f64(), counts, cannot, cases }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("conformance of {} through the driver {}\n\n", escaped(&self.target), self.driver);
        for case in &self.cases {
            let word = match case.outcome {
                Outcome::Passed => "passed",
                Outcome::Cannot => "cannot",
                Outcome::Skipped => "skipped",
                Outcome::Failed => "FAILED",
            };
            let because = case.because();
            let separator = if because.is_empty() { "" } else { ": " };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {word:7}  {}{separator}{because}", case.name);
            for line in &case.transcript {
                let _ = writeln!(out, "           | {}", escaped(line));
            }
        }
        let Counts { passed, cannot, skipped, failed } = self.counts;
        let _ = write!(
            out,
            "\n{passed} passed, {cannot} cannot be done by this box, {skipped} skipped, {failed} failed, in {:.1} s",
            self.seconds
        );
        if !self.cannot.is_empty() {
            let name = |feature: &Feature| match feature {
                Feature::Option => "some options".to_owned(),
                named => named.to_string(),
            };
            let names: Vec<_> = self.cannot.iter().map(name).collect();
            let _ = write!(out, "\nit cannot do: {}", names.join(", "));
        }
        out
    }

    /// JUnit XML, as build servers read it: a case that the box cannot do is skipped, with the reason.
    pub(super) fn junit(&self) -> String {
        let Counts { passed, cannot, skipped, failed } = self.counts;
        let name = xml(&format!("conformance of {}", self.target));
        let head = format!(
            "name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\"",
            passed + cannot + skipped + failed,
            cannot + skipped,
            self.seconds
        );
        let mut out =
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {head}>\n  <testsuite {head}>\n");
        let _ = writeln!(
            out,
            "    <properties>\n      <property name=\"driver\" value=\"{}\"/>\n    </properties>",
            xml(&self.driver)
        );
        for case in &self.cases {
            let _ = write!(
                out,
                "    <testcase classname=\"acm.conformance.{}\" name=\"{}\" time=\"{:.3}\"",
                case.about,
                xml(case.name),
                case.seconds
            );
            let because = xml(&case.because());
            let _ = match case.outcome {
                Outcome::Passed => writeln!(out, "/>"),
                Outcome::Cannot => {
                    writeln!(out, ">\n      <skipped message=\"the box cannot: {because}\"/>\n    </testcase>")
                }
                Outcome::Skipped => writeln!(out, ">\n      <skipped message=\"{because}\"/>\n    </testcase>"),
                Outcome::Failed => writeln!(
                    out,
                    ">\n      <failure message=\"{because}\">{}</failure>\n    </testcase>",
                    xml(&case.transcript.join("\n"))
                ),
            };
        }
        out.push_str("  </testsuite>\n</testsuites>");
        out
    }
}

/// Text for an XML attribute or element: what has a meaning is escaped, what XML 1.0 has no place for (section 2.2,
/// control characters above all) becomes a replacement character.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::conformance::cases;

    fn report(why: &str, line: &str) -> Report {
        let endings = [
            Ending::Passed,
            Ending::Cannot { feature: Feature::Leases, why: "HAProxy keeps none".into() },
            Ending::Skipped("needs a testbed".into()),
            Ending::Failed(why.into()),
        ];
        let line = || vec![line.to_owned(), "second".to_owned()];
        let cases = cases().zip(endings).map(|(case, ending)| CaseReport::new(case, ending, Duration::ZERO, line()));
        Report::new("haproxy".into(), "unix:/run/h.sock".into(), Duration::from_millis(1234), cases.collect())
    }

    #[test]
    fn text_names_what_cannot_be_done_and_shows_the_transcript() {
        let text = report("expected 1, got 2", "> show info").text();
        for part in [
            "cannot   Add creates the service and the binding: leases: HAProxy keeps none\n",
            "skipped  Add is idempotent: needs a testbed\n",
            "FAILED   Add changes options and keeps those it does not name: expected 1, got 2\n           | > show info\n",
            "\n1 passed, 1 cannot be done by this box, 1 skipped, 1 failed, in 1.2 s\nit cannot do: leases",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::to_value(report("why", "line")).unwrap();
        assert_eq!(value["counts"], serde_json::json!({"passed": 1, "cannot": 1, "skipped": 1, "failed": 1}));
        assert_eq!(value["cannot"], serde_json::json!(["leases"]));
        assert_eq!(value["cases"][3]["outcome"], "failed");
        assert_eq!(value["cases"][3]["transcript"][0], "line");
        assert!(value["cases"][1].get("transcript").is_none());
    }

    #[test]
    fn junit_is_well_formed_whatever_the_box_says() {
        let hostile = "]]> <b> & \"quoted\" 'x' \u{1b}[31m \0 \u{ffff} é";
        let text = report(hostile, hostile).junit();
        let document = roxmltree::Document::parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!(
            (suite.attribute("tests"), suite.attribute("failures"), suite.attribute("skipped")),
            (Some("4"), Some("1"), Some("2"))
        );
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert!(failure.attribute("message").unwrap().contains("]]> <b> & \"quoted\""));
        assert!(
            failure.text().unwrap().contains("]]> <b> & \"quoted\"") && failure.text().unwrap().ends_with("second")
        );
    }
}
