//! The table of `authorize()`, line by line.

use crate::identity::actor::{Actor, Caller};
use crate::identity::authorize::{Action, Resource};
use crate::identity::grant::{BucketPattern, Grant, Role};
use crate::kernel::{AccessKeyId, BucketName, LinkId, ObjectKey};
use proptest::prelude::*;

fn holder(grants: Vec<Grant>) -> Caller {
    let actor = Actor::AccessKey {
        id: AccessKeyId::random(),
        name: String::new(),
        root: false,
    };
    Caller::new(actor, grants)
}

fn with(role: Role, pattern: &str) -> Caller {
    holder(vec![Grant::new(role, pattern.parse().unwrap())])
}

fn below(role: Role, pattern: &str, prefix: &str) -> Caller {
    holder(vec![Grant {
        prefixes: vec![prefix.into()],
        ..Grant::new(role, pattern.parse().unwrap())
    }])
}

#[test]
fn a_role_on_a_prefix_ends_at_the_prefix() {
    use Action as A;
    let films: BucketName = "films".parse().unwrap();
    let (inside, outside): (ObjectKey, ObjectKey) =
        ("2024/a".parse().unwrap(), "2025/a".parse().unwrap());
    let (node, bucket) = (Resource::Node, Resource::Bucket(&films));
    let (inside, outside) = (
        Resource::Object(&films, &inside),
        Resource::Object(&films, &outside),
    );
    let writer = below(Role::Write, "films", "2024/");
    let everywhere = below(Role::Write, "*", "2024/");
    for (action, resource, expected) in [
        (A::ReadObject, inside, true),
        (A::WriteObject, inside, true),
        (A::DeleteObject, outside, false),
        (A::ListObjects, bucket, false),
        (A::ListObjects, Resource::Prefix(&films, "2024/"), true),
        (A::ListObjects, Resource::Prefix(&films, "2024/x"), true),
        (A::ListObjects, Resource::Prefix(&films, "2024"), false),
        (A::ListObjects, Resource::Prefix(&films, ""), false),
        (A::ManageUploads, bucket, false),
        (A::ListBuckets, bucket, true),
        (A::ListBuckets, node, true),
        (A::ConfigureBucket, bucket, false),
        (A::ManageUploads, node, false),
        (A::ReadJobs, node, false),
    ] {
        for caller in [&writer, &everywhere] {
            let decision = caller.may(action, &resource);
            assert_eq!(decision.allow, expected, "{action} {resource}");
        }
    }
}

#[test]
fn a_temporary_key_has_what_both_allow_and_no_key_management() {
    use Action as A;
    let films: BucketName = "films".parse().unwrap();
    let key: ObjectKey = "2024/a".parse().unwrap();
    let object = Resource::Object(&films, &key);
    let root = Actor::AccessKey {
        id: AccessKeyId::random(),
        name: String::new(),
        root: true,
    };
    let root = Caller::new(root, []);
    let through = |parent: &Caller, scope: Vec<Grant>| {
        let id = AccessKeyId::temporary();
        parent.clone().through(id, String::new(), scope, None)
    };
    let reading = below(Role::Read, "films", "2024/").grants().to_vec();
    let table = [
        (through(&root, vec![]), A::WriteObject, object, true),
        (through(&root, vec![]), A::ManageKeys, Resource::Node, false),
        (through(&root, vec![]), A::Deploy, Resource::Node, false),
        (through(&root, vec![]), A::CreateLink, object, false),
        (through(&root, reading.clone()), A::ReadObject, object, true),
        (
            through(&root, reading.clone()),
            A::WriteObject,
            object,
            false,
        ),
        (
            through(&with(Role::Read, "other"), reading.clone()),
            A::ReadObject,
            object,
            false,
        ),
        (
            through(&with(Role::Admin, "*"), reading),
            A::ReadObject,
            object,
            true,
        ),
    ];
    for (caller, action, resource, expected) in table {
        assert!(!caller.is_root());
        let decision = caller.may(action, &resource);
        assert_eq!(decision.allow, expected, "{action}: {}", decision.reason);
    }
}

fn flags(deploy: bool, worker: bool) -> Caller {
    holder(vec![Grant {
        deploy,
        worker,
        ..Grant::default()
    }])
}

#[test]
fn every_line_of_the_table_holds() {
    use Action as A;
    let films: BucketName = "films".parse().unwrap();
    let other: BucketName = "other".parse().unwrap();
    let key: ObjectKey = "a.mp4".parse().unwrap();
    let (node, bucket) = (Resource::Node, Resource::Bucket(&films));
    let object = Resource::Object(&films, &key);
    let elsewhere = Resource::Object(&other, &key);
    let table = [
        (with(Role::Read, "films"), A::ReadObject, object, true),
        (with(Role::Read, "films"), A::ListObjects, bucket, true),
        (with(Role::Read, "films"), A::WriteObject, object, false),
        (with(Role::Read, "films"), A::ReadObject, elsewhere, false),
        (with(Role::Read, "films"), A::ListBuckets, node, true),
        (with(Role::Read, "films"), A::ReadStatus, node, true),
        (with(Role::Read, "films"), A::ReadJobs, node, false),
        (with(Role::Read, "*"), A::ReadJobs, node, true),
        (with(Role::Read, "films"), A::CreateLink, object, false),
        (with(Role::Write, "films"), A::ReadObject, object, true),
        (with(Role::Write, "films"), A::WriteObject, object, true),
        (with(Role::Write, "films"), A::DeleteObject, object, true),
        (
            with(Role::Write, "films"),
            A::BypassRetention,
            object,
            false,
        ),
        (with(Role::Admin, "films"), A::BypassRetention, object, true),
        (with(Role::Write, "films"), A::CreateLink, object, true),
        (with(Role::Write, "films"), A::CreateBucket, bucket, false),
        (with(Role::Write, "f*"), A::ManageUploads, bucket, true),
        (with(Role::Admin, "films"), A::CreateBucket, bucket, true),
        (with(Role::Admin, "films"), A::DeleteBucket, bucket, true),
        (with(Role::Admin, "films"), A::ManageKeys, node, false),
        (with(Role::Admin, "f*s"), A::ManageJobs, bucket, true),
        (with(Role::Admin, "**"), A::ManageKeys, node, false),
        (with(Role::Admin, "*"), A::ManageKeys, node, true),
        (with(Role::Admin, "*"), A::ManageNode, node, true),
        (with(Role::Admin, "*"), A::Deploy, node, false),
        (with(Role::Admin, "*"), A::Worker, node, false),
        (flags(true, false), A::Deploy, node, true),
        (flags(true, false), A::Worker, node, false),
        (flags(false, true), A::Worker, node, true),
        (flags(true, true), A::ListBuckets, node, false),
        (with(Role::Admin, "*"), A::ReadObject, bucket, false),
        (Caller::system(), A::Deploy, node, true),
        (Caller::anonymous(), A::ReadObject, object, false),
    ];
    for (caller, action, resource, expected) in table {
        let decision = caller.may(action, &resource);
        assert_eq!(
            decision.allow,
            expected,
            "{:?} {action} {resource}: {}",
            caller.grants(),
            decision.reason
        );
    }
    let decision = with(Role::Write, "films").may(A::ReadObject, &object);
    assert_eq!(decision.rule.to_string(), "grant films: write");
    let decision = with(Role::Read, "films").may(A::WriteObject, &object);
    assert_eq!(
        decision.reason,
        "write_object needs the role write on films"
    );
}

fn bucket_name() -> impl Strategy<Value = BucketName> {
    "[a-z0-9]{3,12}".prop_map(|name| name.parse().unwrap())
}

fn key() -> impl Strategy<Value = ObjectKey> {
    "[a-z/.]{1,20}".prop_map(|key| key.parse().unwrap())
}

fn action() -> impl Strategy<Value = Action> {
    proptest::sample::select(Action::ALL.to_vec())
}

proptest! {
    #[test]
    fn without_a_grant_nothing_is_allowed(bucket in bucket_name(), key in key(), action in action()) {
        let useless = Grant { role: Some(Role::Admin), ..Grant::default() };
        let nowhere = Grant { buckets: vec![BucketPattern::all()], ..Grant::default() };
        let callers = [
            Caller::anonymous(),
            holder(vec![]),
            holder(vec![useless, nowhere]),
            Caller::new(Actor::Link { id: LinkId::random() }, []),
            Caller::new(Actor::TailnetNode { name: "n".into(), tags: vec![] }, []),
        ];
        for caller in callers {
            for resource in [Resource::Node, Resource::Bucket(&bucket), Resource::Object(&bucket, &key)] {
                prop_assert!(!caller.may(action, &resource).allow);
            }
        }
    }

    #[test]
    fn a_grant_reaches_no_bucket_but_its_own(
        mine in bucket_name(), other in bucket_name(), key in key(), action in action(),
    ) {
        prop_assume!(mine != other);
        let caller = with(Role::Admin, mine.as_str());
        for resource in [Resource::Bucket(&other), Resource::Object(&other, &key)] {
            prop_assert!(!caller.may(action, &resource).allow);
        }
    }

    #[test]
    fn a_higher_role_never_loses_a_right(bucket in bucket_name(), key in key(), action in action()) {
        for resource in [Resource::Node, Resource::Bucket(&bucket), Resource::Object(&bucket, &key)] {
            let may = |role| with(role, "*").may(action, &resource).allow;
            prop_assert!(!may(Role::Read) || may(Role::Write));
            prop_assert!(!may(Role::Write) || may(Role::Admin));
        }
    }
}
