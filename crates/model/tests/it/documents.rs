//! Strict JSON and RFC 8785.

use proptest::prelude::*;
use remit_model::{
    Code,
    json::{self, DEPTH_CAP, Limits, Numbers, pointer},
};
use serde_json::{Value, json};

fn code(text: impl AsRef<[u8]>) -> Code {
    json::parse(text.as_ref(), &Limits::REQUEST).expect_err(&String::from_utf8_lossy(text.as_ref())).code
}

fn read(text: &str) -> Value {
    json::parse(text.as_bytes(), &Limits::REQUEST).expect(text)
}

#[test]
fn n_mg_04_duplicate_members_are_refused_at_any_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"[{"x":{"a":1,"a":2}}]"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"/":1,"\/":2}"#,
        r#"{"a":[{"b":1},{"c":1,"c":1}]}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
    ] {
        assert_eq!(code(text), Code::JsonDuplicateMember, "{text}");
    }
    assert_eq!(read(r#"{"a":{"a":{"a":1}},"A":2}"#), json!({"a": {"a": {"a": 1}}, "A": 2}));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "{}}",
        "{} {}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{1:2}",
        "nul",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "0x10",
        "--1",
        "-",
        "1e400",
        "-1e400",
        "[1e999]",
        "\"\t\"",
        "\"\n\"",
        "\"\0\"",
        "\0",
        "{}\0",
        "\u{feff}{}",
        "// x\n{}",
        "{}//",
        "/**/1",
        r#""\x""#,
        r#""\u12""#,
        r#""\u{1}""#,
        "\"",
        "\"abc",
        "tru",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\"}",
    ] {
        assert_eq!(code(text), Code::RequestMalformed, "{text:?}");
    }
}

#[test]
fn texts_that_are_not_unicode_are_refused() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800x""#,
        r#"{"\ud800":1}"#,
        r#"["\uDBFF"]"#,
    ] {
        assert_eq!(code(text), Code::RequestMalformed, "{text:?}");
    }
    for bytes in [
        &b"\"\xff\""[..],
        b"\"\xc0\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\xef\xbb\xbf{}",
        b"{\"\xff\":1}",
        b"\xff\xfe{\0}\0",
        b"\"\xf5\x80\x80\x80\"",
    ] {
        assert_eq!(code(bytes), Code::RequestMalformed, "{bytes:?}");
    }
}

#[test]
fn names_that_other_readers_take_for_something_else_are_refused() {
    for text in [
        r#"{"a\u0000b":1}"#,
        r#"{"\u0000":1}"#,
        r#"{"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"[{"\u0024serde_json::private::RawValue":"1"}]"#,
    ] {
        assert_eq!(code(text), Code::RequestMalformed, "{text}");
    }
    // In a value NUL is data.
    assert_eq!(read(r#"{"a":"x\u0000"}"#), json!({"a": "x\0"}));
}

#[test]
fn numbers_that_lose_digits_are_refused() {
    let most = "9007199254740991";
    assert_eq!(read(most), json!(9_007_199_254_740_991_i64));
    assert_eq!(read(&format!("[-{most}, 1e300, 0.1, -0, 1.50]")).as_array().unwrap().len(), 5);
    for text in ["9007199254740993.0", "0.10000000000000001", "49.99999999999999999999999"] {
        assert_eq!(code(text), Code::RequestMalformed, "{text}");
        // A token is read as every other reader reads it.
        assert!(json::parse(text.as_bytes(), &Limits::TOKEN).is_ok(), "{text}");
    }
    for text in [
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551615",
        "[{\"a\":9007199254740993}]",
        "{\"\\\"\":18446744073709551616}",
    ] {
        assert_eq!(code(text), Code::RequestMalformed, "{text}");
    }
    let response = |text: &str| json::parse(text.as_bytes(), &Limits::RESPONSE);
    assert_eq!(response("[18446744073709551615,-9223372036854775808]").unwrap(), json!([u64::MAX, i64::MIN]));
    for text in ["18446744073709551616", "[1,100000000000000000000000]", "[-0,1.50,1E5,1e400]"] {
        assert_eq!(response(text).unwrap().to_string(), text);
    }
    // Digits inside texts and names are not numbers.
    assert_eq!(read(r#"{"99999999999999999999":"\"99999999999999999999"}"#).as_object().unwrap().len(), 1);
}

#[test]
fn x_10_limits_hold_at_the_limit_and_fail_above_it() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let limits = Limits { bytes: 1000, depth: 5, members: 10, numbers: Numbers::Doubles };
    let parse = |text: String, limits: &Limits| json::parse(text.as_bytes(), limits).map_err(|no| no.code);
    for text in [nested, objects as fn(usize) -> String] {
        assert!(parse(text(5), &limits).is_ok());
        assert_eq!(parse(text(6), &limits), Err(Code::JsonTooDeep));
    }
    let deepest = Limits { bytes: 1 << 20, depth: usize::MAX, members: 1 << 20, numbers: Numbers::Doubles };
    assert!(parse(nested(DEPTH_CAP), &deepest).is_ok());
    assert_eq!(parse(nested(DEPTH_CAP + 1), &deepest), Err(Code::JsonTooDeep));
    assert_eq!(parse(nested(100_000), &deepest), Err(Code::JsonTooDeep));
    assert_eq!(parse("[".repeat(100_000), &deepest), Err(Code::JsonTooDeep));
    assert!(parse("[0,0,0,0,0,0,0,0,0,0]".into(), &limits).is_ok());
    assert_eq!(parse("[0,0,0,0,0,0,0,0,0,0,0]".into(), &limits), Err(Code::RequestTooLarge));
    assert_eq!(parse("[[0,0,0],[0,0,0],{\"a\":[0]},0]".into(), &limits), Err(Code::RequestTooLarge));
    assert!(parse(format!("\"{}\"", "x".repeat(998)), &limits).is_ok());
    assert_eq!(parse(format!("\"{}\"", "x".repeat(999)), &limits), Err(Code::RequestTooLarge));
}

#[test]
fn pointers_follow_rfc_6901() {
    // SPEC: RFC 6901 §5.
    let document = json!({
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
    });
    for (at, found) in [
        ("", document.clone()),
        ("/foo", json!(["bar", "baz"])),
        ("/foo/0", json!("bar")),
        ("/", json!(0)),
        ("/a~1b", json!(1)),
        ("/c%d", json!(2)),
        ("/e^f", json!(3)),
        ("/g|h", json!(4)),
        ("/i\\j", json!(5)),
        ("/k\"l", json!(6)),
        ("/ ", json!(7)),
        ("/m~0n", json!(8)),
    ] {
        assert_eq!(pointer::get(&document, at), Some(&found), "{at}");
    }
    for at in [
        "foo",
        "/foo/2",
        "/foo/-",
        "/foo/01",
        "/foo/+1",
        "/foo/00",
        "/m~n",
        "/m~2n",
        "~",
        "/~",
        "/foo/0/0",
        "/foo/18446744073709551616",
    ] {
        assert_eq!(pointer::get(&document, at), None, "{at}");
    }
    assert!(pointer::valid("/~01") && !pointer::valid("a") && !pointer::valid("/~"));
    assert_eq!(pointer::get(&json!({"~1": 1, "/": 2}), "/~01"), Some(&json!(1)));
    assert_eq!(pointer::escape("~/~1"), "~0~1~01");
}

#[test]
fn canonical_form_follows_rfc_8785() {
    // SPEC: RFC 8785 §3.2.2 and §3.2.3: numbers, texts and the order of members by UTF-16 code units.
    let numbers = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
        "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
    let canonical =
        |text: &str| String::from_utf8(json::canonical(&json::parse(text.as_bytes(), &Limits::TOKEN).unwrap())).unwrap();
    assert_eq!(
        canonical(numbers),
        "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
         \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
    );
    let order = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    assert_eq!(
        canonical(order),
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\
         \"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
    );
}

#[test]
fn canonical_numbers_follow_rfc_8785_appendix_b() {
    for (bits, text) in [
        (0x0000_0000_0000_0000_u64, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let canonical = String::from_utf8(json::canonical(&json!(f64::from_bits(bits)))).unwrap();
        assert_eq!(canonical, text, "{bits:016x}");
    }
}

#[test]
fn digests_are_labelled_sha_256() {
    let empty = "sha-256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(json::sha256_label(b""), empty);
    assert_eq!(json::digest(&json!({"b": 1, "a": 2})), json::sha256_label(b"{\"a\":2,\"b\":1}"));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991..=9_007_199_254_740_991_i64).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[^\\x00]{0,4}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Numbers as JSON writes them, in every form.
const NUMBER: &str = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?";

#[test]
fn what_is_not_unicode_is_mended_only_where_an_answer_is_passed_on() {
    let mended = |bytes: &[u8]| json::parse_repaired(bytes, &Limits::RESPONSE).unwrap();
    for (text, expected) in [
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""a\udc00b""#, "a\u{fffd}b"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud83dx\u0041""#, "\u{fffd}xA"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
    ] {
        assert_eq!(mended(text.as_bytes()), json!(expected), "{text}");
        assert_eq!(code(text), Code::RequestMalformed, "{text}");
    }
    assert_eq!(mended(b"{\"\xff\":\"\xed\xa0\x80\"}").as_object().unwrap().len(), 1);
    for text in [r#""\ud83"#, r#""\ud83d\uzzzz""#, r#"{"a":1,"a":2}"#, r#"{"\ud83d":1,"\ud83e":2}"#] {
        assert!(json::parse_repaired(text.as_bytes(), &Limits::RESPONSE).is_err(), "{text}");
    }
}

#[test]
fn only_exact_numbers_are_committed_to_as_numbers() {
    let exact = |text: &str| json::is_exact(&serde_json::from_str(text).unwrap());
    for text in
        ["0", "-0", "1.50", "0.1", "1e300", "9007199254740991", "-9007199254740991", "5e-324", "123456789012345.6", "1e15"]
    {
        assert_eq!(exact(text), text != "1e300", "{text}");
    }
    for text in ["9007199254740992", "9007199254740993.0", "0.10000000000000001", "1e400", "1e-400", "1e16", "1e999999999"] {
        assert!(!exact(text), "{text}");
    }
    assert!(json::is_same(&json!([1.5, {"a": 100}]), &serde_json::from_str(r#"[1.50,{"a":1e2}]"#).unwrap()));
    assert!(!json::is_same(&json!([9_007_199_254_740_993_u64]), &json!([9_007_199_254_740_992_u64])));
    assert!(!json::is_same(&json!([1]), &json!([1, 1])) && !json::is_same(&json!({"a": 1}), &json!({"b": 1})));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn numbers_stay_as_they_are_written(numbers in prop::collection::vec(NUMBER, 1..6)) {
        let text = format!("[{}]", numbers.join(","));
        let value = json::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(value.to_string(), text.clone());
        prop_assert_eq!(serde_json::to_vec(&value).unwrap(), text.as_bytes());
    }

    #[test]
    fn two_numbers_have_one_canonical_form_only_if_they_are_equal(a in NUMBER, b in NUMBER) {
        let value = |text: &str| json::parse(text.as_bytes(), &Limits::RESPONSE).unwrap();
        prop_assert_eq!(json::canonical(&value(&a)) == json::canonical(&value(&b)), json::is_same(&value(&a), &value(&b)));
        let canonical = String::from_utf8(json::canonical(&value(&a))).unwrap();
        prop_assert!(json::is_same(&value(&a), &value(&canonical)), "{} {}", a, canonical);
    }

    #[test]
    fn an_exact_number_is_the_same_to_readers_of_doubles(a in NUMBER) {
        let value = json::parse(a.as_bytes(), &Limits::RESPONSE).unwrap();
        let Value::Number(number) = &value else { panic!("{value}") };
        let Ok(double) = json::parse(a.as_bytes(), &Limits::TOKEN) else { return Ok(()) };
        if json::is_exact(number) {
            prop_assert_eq!(json::canonical(&value), serde_json_canonicalizer::to_vec(&double).unwrap());
            prop_assert!(json::is_same(&value, &double));
        }
        let refused = json::parse(a.as_bytes(), &Limits::REQUEST).is_err();
        prop_assert_eq!(refused, !json::is_same(&value, &double), "{}", a);
    }

    #[test]
    fn what_serde_json_writes_we_read_as_it_was(document in documents()) {
        let text = serde_json::to_vec(&document).unwrap();
        prop_assert_eq!(&json::parse(&text, &Limits::REQUEST).unwrap(), &document);
        let pretty = serde_json::to_vec_pretty(&document).unwrap();
        prop_assert_eq!(json::parse(&pretty, &Limits::REQUEST).unwrap(), document);
    }

    #[test]
    fn canonical_bytes_are_those_of_an_independent_writer(document in documents()) {
        prop_assert_eq!(json::canonical(&document), serde_json_canonicalizer::to_vec(&document).unwrap());
    }

    #[test]
    fn canonical_bytes_are_stable(document in documents()) {
        let once = json::canonical(&document);
        // Whole doubles beyond 2^53 are written as integers, which only the wider limits read.
        let Ok(again) = json::parse(&once, &Limits { numbers: Numbers::AsWritten, ..Limits::REQUEST }) else { return Ok(()) };
        if json::parse(&once, &Limits::REQUEST).is_ok() {
            prop_assert_eq!(json::canonical(&again), once);
        }
    }

    #[test]
    fn what_we_read_serde_json_reads_too(text in "[\\[\\]{},:\"0-9a-c.eE+\\- \\\\u]{0,24}") {
        if let Ok(value) = json::parse(text.as_bytes(), &Limits::REQUEST) {
            prop_assert!(json::is_same(&serde_json::from_str::<Value>(&text).unwrap(), &value));
        }
    }

    #[test]
    fn what_serde_json_reads_we_read_or_refuse_for_a_name(text in "[\\[\\]{},:\"\\\\/tn0-2é😀eE+\\-. ]{0,24}") {
        if let Ok(theirs) = serde_json::from_str::<Value>(&text) {
            match json::parse(text.as_bytes(), &Limits::RESPONSE) {
                Ok(ours) => prop_assert!(json::is_same(&theirs, &ours), "{}", text),
                Err(refusal) => prop_assert_eq!(refusal.code, Code::JsonDuplicateMember, "{}", text),
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = json::parse(&bytes, &Limits::RESPONSE);
    }
}
