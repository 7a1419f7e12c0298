use crate::bundle;
use remit_model::time::UnixTime;
use remit_policy::Live;

#[test]
fn the_last_good_bundle_stays_in_force() {
    let live = Live::new(bundle("permit (principal, action, resource);").unwrap(), UnixTime(100));
    let good = live.current().digest().to_owned();

    assert!(!live.replace(bundle("permit ("), UnixTime(200)));
    assert_eq!(live.current().digest(), good);
    let status = live.status();
    assert_eq!((status.loaded_at, status.age(UnixTime(260))), (UnixTime(100), 160));
    let failure = status.last_error.unwrap();
    assert_eq!((failure.at, failure.errors[0].file.as_str()), (UnixTime(200), "p.cedar"));

    assert!(!live.replace(bundle("permit (principal, action, resource);"), UnixTime(300)), "the same text again");
    assert_eq!((live.status().loaded_at, live.status().last_error), (UnixTime(100), None));

    assert!(live.replace(bundle("forbid (principal, action, resource);"), UnixTime(400)));
    assert_ne!(live.current().digest(), good);
    assert_eq!(live.status().loaded_at, UnixTime(400));
}
