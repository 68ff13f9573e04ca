//! What is read of real boxes' configurations, and what is not believed.

use super::*;
use crate::acm::rules::Content;

/// Both captures of real boxes, in one configuration: two blanks and one, four pairs a line, options we do not know.
const CAPTURES: &str = "\
Building configuration...
Current configuration : 700 bytes
!
ver 12.5.01gT401
!
server predictor round-robin
server port 8181
 tcp
!
server port 53
 udp
!
server virtual ivip1 198.19.129.50
  port default disable
  port http
  bind http ixia1 http ixia2 http ixia3 http ixia4 http
  bind http ixia5 http
!
server real ixia1 198.19.1.1
 port default disable
 port http
 port http url \"GET /status.html HTTP/1.0\"
!
server real ixia2 198.19.1.2
 port http
! weight 7 is a comment here
!
server real ixia3 198.19.1.3
 port http
 port http disable
!
server real ixia4 198.19.1.4
 port http
 port http keepalive
 weight 5
 max-conn 1000
!
server real ixia5 198.19.1.5
 port default disable
 disable
 port http
 port gopherish
 port http group-id  1 1
!
server virtual vi1 172.27.13.54
 port ssl
 no port ssl sticky
 predictor weighted
!
server virtual-name acm-v-10.0.0.100 10.0.0.100
 port 8080
!
end

";

#[test]
fn captures() {
    let config = read(CAPTURES).unwrap();
    assert_eq!((config.reals.len(), config.virtuals.len(), config.virtuals["ivip1"].ports[&80].len()), (5, 3, 5));
    let real = |n| &config.reals[format!("ixia{n}").as_str()];
    assert!(real(3).ports[&80].disabled && real(4).ports[&80].keepalive && real(5).disabled);
    assert_eq!((real(4).weight, real(4).max_conn, real(2).weight), (Some(5), Some(1000), None));
    assert_eq!(real(5).ports[&80].bound_to.len(), 1);
    assert_eq!(config.protocol(53), Protocol::Udp);
    assert_eq!((config.protocol(8181), config.protocol(80)), (Protocol::Tcp, Protocol::Tcp));
    let predictor = |name: &str| config.predictor_of(&config.virtuals[name]);
    assert_eq!((predictor("ivip1"), predictor("vi1")), (Predictor::RoundRobin, Predictor::Weighted));
    assert!(config.virtuals["acm-v-10.0.0.100"].ports.contains_key(&8080));
    assert!(config.uses_port(443) && !config.uses_port(8181));
}

fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn what_is_not_whole_is_not_believed() {
    for cut in [1, 5, 40, 200, 600] {
        let text = &CAPTURES[..CAPTURES.trim_end().len() - cut];
        assert!(refused(text).contains("does not end with `end`"), "{cut}");
    }
    let without_a_block = CAPTURES.replace("server real ixia1 198.19.1.1\n port default disable\n", "");
    assert!(read(&without_a_block).is_err());
    let shorter = CAPTURES.replace("700 bytes", "7000 bytes");
    assert!(refused(&shorter).contains("7000 bytes are announced"));
    assert!(refused("").contains("end"));
}

#[test]
fn contradictions_are_not_believed() {
    let with = |block: &str| format!("!\n{block}!\nend\n");
    for (block, why) in [
        ("server real a 10.0.0.1\n!\nserver real a 10.0.0.2\n", "twice"),
        ("server real a 10.0.0.1\n!\nserver real b 10.0.0.1\n", "address 10.0.0.1"),
        ("server real a\n", "no address"),
        ("server real acm-r-10.0.0.1 10.0.0.2\n", "not the one in its name"),
        ("server real a 10.0.0.1\n weight x\n", "no number"),
        ("server virtual v 10.0.0.1\n bind http a\n", "breaks off"),
        ("server virtual v 10.0.0.1\n bind http a http\n", "not there"),
        ("server virtual acm-v-10.0.0.1 10.0.0.1\n port gopherish\n", "no port we know"),
    ] {
        assert!(refused(&with(block)).contains(why), "{block}: {}", refused(&with(block)));
    }
    assert!(read(&with("server virtual v 10.0.0.1\n port gopherish\n")).is_ok(), "foreign names are left alone");
}

/// A configuration of a vendor's community page, where no `!` stands between the blocks.
const BY_HOST: &str = "\
csw-rule \"domA\" header \"host\" equals \"www.domaina.example\" case-insensitive
csw-rule \"domB\" header \"host\" equals \"www.domainb.example\" case-insensitive
csw-policy \"MP\" case-insensitive
 match \"domA\" forward 1
 match \"domB\" forward 2
 match \"domB\" log
 default reset-client
server real rs101 10.0.0.1
 port http
 port http url \"HEAD /\"
 port http group-id  1 1
server virtual vs200 10.0.0.200
 port http
 port http csw-policy \"MP\"
 port http csw
 port ssl csw-policy \"MP\"
 bind http rs101 http
end
";

#[test]
fn content_is_read_as_far_as_it_has_words() {
    let config = read(BY_HOST).unwrap();
    let wants = config.wants("vs200", 80);
    let rules: Vec<_> =
        wants.rules.iter().map(|rule| format!("{}: {} {}", rule.name, rule.when[0], rule.then)).collect();
    assert_eq!(
        rules,
        ["domA: host is \"www.domaina.example\" group 1", "domB: host is \"www.domainb.example\" group 2"]
    );
    assert_eq!((wants.content, wants.default_action.to_string()), (Content::Http, "reset".to_owned()));
    let pair = Pair { real: "rs101".into(), port: 80 };
    assert_eq!(config.group_of("vs200", 80, &pair).as_str(), "1");
    assert_eq!(config.wants("vs200", 443).content, Content::None, "both lines are needed");
    assert!(refused("csw-rule \"a\nend\n").contains("breaks off"));
    assert!(refused("csw-policy\nend\n").contains("breaks off"));
}
