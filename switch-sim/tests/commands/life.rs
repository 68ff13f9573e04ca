//! Binding, unbinding, deleting: what the device says and shows meanwhile.

use crate::desk::Desk;
use switch_sim::personality::Personality;

#[test]
fn the_recipes_of_an_operators_driver_succeed_in_silence() {
    let mut desk = Desk::configuring(Personality::Xl);
    for line in [
        "server virtual v1 10.1.1.1",
        "port default disable",
        "port 80 dsr fast-delete",
        "port 80",
        "server real-name r1 10.1.2.1",
        "port default disable",
        "port 80",
        "port http url \"GET /status.html HTTP/1.0\"",
        "server virtual-name v1",
        "bind 80 r1 80",
        "server virtual v1",
        "no bind http r1 http",
        "no server virtual v1",
        "no server real r1",
    ] {
        desk.quietly(line);
    }
    assert_eq!(desk.wait(299), Vec::<String>::new());
    assert_eq!(desk.wait(1), ["Server r1 successfully deleted."]);
}
