//! Deploys by real pushes into a real bare repository: the hooks and the activation of the package, the real
//! `nebulad`, and a small stand-in for the service manager, so that neither root nor systemd is needed.

#![expect(clippy::unwrap_used, reason = "tests")]

mod releases;
mod stand_in;
mod traffic;

use releases::{Flaw, Repository};
use stand_in::StandIn;
use traffic::Traffic;

#[test]
fn a_good_push_switches_without_losing_a_request() {
    let manager = StandIn::start();
    let repository = Repository::beside(&manager);
    let first = repository.commit("first");
    repository.provide(&first, Flaw::None);
    let push = repository.push(&first);
    assert!(push.accepted, "{}", push.said);
    assert_eq!(repository.live().as_deref(), Some(first.id()));
    assert_eq!(manager.serving(), [first.id()]);

    let traffic = Traffic::begin(manager.address());
    traffic.wait_for_answers(20);
    // A request that began before the switch and ends after it.
    let slow = traffic::SlowRequest::begin(manager.address());

    let second = repository.commit("second");
    repository.provide(&second, Flaw::None);
    let push = repository.push(&second);
    assert!(push.accepted, "{}", push.said);
    assert!(
        push.said.contains(&format!("{} is live", second.id())),
        "{}",
        push.said
    );
    assert_eq!(repository.live().as_deref(), Some(second.id()));
    manager.wait_until_draining(first.id());
    assert_eq!(
        slow.finish(),
        200,
        "the request that was under way is answered by the old release"
    );
    manager.wait_until_gone(first.id());

    traffic.wait_for_answers(20);
    let tally = traffic.end();
    assert_eq!(
        tally.failed,
        Vec::<String>::new(),
        "of {} requests",
        tally.answered
    );
    assert_eq!(manager.serving(), [second.id()]);
    assert_eq!(repository.main(), second.commit());
}

#[test]
fn going_back_is_a_push_like_any_other() {
    let manager = StandIn::start();
    let repository = Repository::beside(&manager);
    let first = repository.commit("first");
    repository.provide(&first, Flaw::None);
    assert!(repository.push(&first).accepted);
    let second = repository.commit("second");
    repository.provide(&second, Flaw::None);
    assert!(repository.push(&second).accepted);
    manager.wait_until_gone(first.id());

    let push = repository.push(&first);
    assert!(push.accepted, "{}", push.said);
    assert!(push.said.contains("is here already"), "{}", push.said);
    assert_eq!(repository.live().as_deref(), Some(first.id()));
}

#[test]
fn whatever_fails_refuses_the_push_and_the_old_release_serves() {
    let manager = StandIn::start();
    let repository = Repository::beside(&manager);
    let good = repository.commit("good");
    repository.provide(&good, Flaw::None);
    let push = repository.push(&good);
    assert!(push.accepted, "{}", push.said);
    let traffic = Traffic::begin(manager.address());

    for (flaw, words) in [
        (Flaw::NoBinary, "refused"),
        (Flaw::WrongBuild, "not build"),
        (Flaw::WrongBuildWhenServing, "is not what was pushed"),
        (Flaw::CheckFails, "the disk is on fire"),
        (Flaw::NeverReady, "did not become ready"),
        (Flaw::DiesAtStart, "did not become ready"),
    ] {
        let bad = repository.commit(&format!("{flaw:?}"));
        repository.provide(&bad, flaw);
        let push = repository.push(&bad);
        assert!(!push.accepted, "{flaw:?} went through: {}", push.said);
        assert!(push.said.contains(words), "{flaw:?}: {}", push.said);
        assert_eq!(repository.main(), good.commit(), "{flaw:?}: main moved");
        assert_eq!(
            repository.live().as_deref(),
            Some(good.id()),
            "{flaw:?}: the link moved"
        );
        assert_eq!(manager.serving(), [good.id()], "{flaw:?}");
        assert_eq!(
            manager.running(),
            [good.id()],
            "{flaw:?}: something was left behind"
        );
        assert!(
            !repository.has_release(bad.id()),
            "{flaw:?}: its release was kept"
        );
    }
    let tally = traffic.end();
    assert_eq!(
        tally.failed,
        Vec::<String>::new(),
        "of {} requests",
        tally.answered
    );

    // The same commit goes through once its fault is mended.
    let mended = repository.commit("mended");
    repository.provide(&mended, Flaw::NoBinary);
    assert!(!repository.push(&mended).accepted);
    repository.provide(&mended, Flaw::None);
    let push = repository.push(&mended);
    assert!(push.accepted, "{}", push.said);
}

#[test]
fn only_main_is_deployed_and_it_stays() {
    let manager = StandIn::start();
    let repository = Repository::beside(&manager);
    let good = repository.commit("good");
    repository.provide(&good, Flaw::None);
    let push = repository.push_to(&good, "refs/heads/feature");
    assert!(
        !push.accepted && push.said.contains("push to main"),
        "{}",
        push.said
    );
    assert!(manager.running().is_empty());
    assert!(repository.push(&good).accepted);
    let push = repository.remove_main();
    assert!(
        !push.accepted && push.said.contains("main cannot be removed"),
        "{}",
        push.said
    );
    assert_eq!(manager.running(), [good.id()]);
}
