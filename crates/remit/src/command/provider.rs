//! `remit provider …`: the identity providers of `remit.yaml`.

use crate::{
    args::{ProviderAdd, ProviderCommand, ProviderTest},
    config::{self, Loaded, OidcProvider},
    keys,
    server::wire,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use remit_authority::provider::{self, ClientCredential};
use remit_clock::Ambient;
use remit_model::display;
use remit_outbound::Outbound;
use remit_token::{Algorithm, PrivateKey};
use serde_json::{Value, json};

/// Runs the command; `false` means that a provider cannot be used as it is.
///
/// # Errors
/// The configuration has problems, or a file cannot be read or written.
pub(crate) async fn run(command: &ProviderCommand, ambient: &Ambient) -> Result<bool> {
    match command {
        ProviderCommand::Add(args) => add(args, ambient).map(|()| true),
        ProviderCommand::Test(args) => test(args, ambient).await,
        ProviderCommand::List(args) => {
            let loaded = config::load(&args.config).map_err(|problems| config::report(&problems))?;
            list(&loaded, args.json).map(|()| true)
        }
    }
}

fn redirect_uri(loaded: &Loaded, name: &str) -> String {
    format!("{}/oauth/callback/{name}", loaded.config.server.public_url)
}

/// Where the provider says that a session ended.
fn logout_uri(loaded: &Loaded, name: &str) -> String {
    format!("{}{}", loaded.config.server.public_url, remit_authority::backchannel_logout_path(name))
}

/// Prints what to put into the file: comments and order there are the operator's.
fn add(args: &ProviderAdd, ambient: &Ambient) -> Result<()> {
    let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
    if config::oidc(&loaded.config.identity_providers).any(|known| known.name == args.name) {
        bail!("there is an identity provider `{}` already", args.name);
    }
    let keys_dir = &loaded.config.server.keys_dir;
    let file = keys_dir.join(format!("{}.{}", args.name, if args.key { "pem" } else { "secret" }));
    let jwk = if args.key { Some(new_key(&loaded.at(&file), ambient)?) } else { None };
    let proof = if args.key { "client_key_file" } else { "client_secret_file" };
    let rule = json!(args.entitlements);
    let block = format!(
        "  - type: oidc\n    name: {}\n    issuer: {}\n    client_id: {}\n    {proof}: {}\n    entitlements:\n      - scope: {rule}\n",
        json!(args.name),
        json!(args.issuer),
        json!(args.client_id),
        json!(file.display().to_string()),
    );
    let redirect = redirect_uri(&loaded, &args.name);
    if args.config.json {
        let logout = logout_uri(&loaded, &args.name);
        let added = json!({
            "provider": args.name, "redirect_uri": redirect, "backchannel_logout_uri": logout, "jwk": jwk, "yaml": block,
        });
        return print_json(&added);
    }
    outln!("Register this redirect URI at the provider: {redirect}");
    outln!("and this back-channel logout URI: {}", logout_uri(&loaded, &args.name));
    match &jwk {
        Some(jwk) => outln!("and this public key, for private_key_jwt: {jwk}"),
        None => outln!("and write the client's secret, which only you can read, into {}.", file.display()),
    }
    outln!("\nPut this below `identity_providers:` in {}:\n\n{block}", args.config.config.display());
    outln!("Then `remit provider test {}`, and send SIGHUP to the server, or restart it.", args.name);
    Ok(())
}

fn new_key(file: &std::path::Path, ambient: &Ambient) -> Result<Value> {
    let key = PrivateKey::generate(Algorithm::Es256, &mut |bytes| ambient.entropy.fill(bytes));
    let key = key.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let pem = key.to_pkcs8_pem().map_err(|fault| anyhow::anyhow!("{fault}"))?;
    keys::write_private(file, pem.as_bytes())?;
    Ok(public(&key))
}

/// The public half as a provider registers it.
fn public(key: &PrivateKey) -> Value {
    let mut jwk = key.public().to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        members.insert("kid".to_owned(), json!(key.public().thumbprint()));
        members.insert("alg".to_owned(), json!(key.algorithm().name()));
        members.insert("use".to_owned(), json!("sig"));
    }
    jwk
}

/// Fetches what a sign-in fetches.
async fn test(args: &ProviderTest, ambient: &Ambient) -> Result<bool> {
    let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
    let named = config::oidc(&loaded.config.identity_providers).find(|provider| provider.name == args.name);
    let named = named.with_context(|| format!("`identity_providers` has no provider `{}`", args.name))?;
    let credential = config::credential(&loaded.base, named)?;
    let outbound = wire::outbound(&loaded)?;
    let examined = provider::examine(&outbound, &ambient.clock, &named.issuer).await;
    let (metadata, keys) = match examined {
        Ok(examined) => examined,
        Err(refusal) => {
            if args.config.json {
                print_json(&json!({"provider": named.name, "good": false, "problems": [refusal.to_string()]}))?;
            } else {
                outln!("{}: {refusal}", named.name);
            }
            return Ok(false);
        }
    };
    let keys: Vec<Value> = keys.iter().map(|(kid, key)| json!({"kid": kid, "alg": key.algorithm().name()})).collect();
    let mut complaints: Vec<String> = metadata.complaints.iter().map(|one| display::escape(one).into_owned()).collect();
    let events = events(&loaded, named, &outbound, ambient, &mut complaints).await;
    let scim = scim_base(&loaded, named);
    let jwk = match &credential {
        ClientCredential::Key { key, .. } => Some(public(key)),
        ClientCredential::Secret(_) | ClientCredential::None => None,
    };
    if args.config.json {
        let found = json!({
            "provider": named.name, "good": complaints.is_empty(), "metadata": metadata.document, "keys": keys, "jwk": jwk,
            "redirect_uri": redirect_uri(&loaded, &named.name), "backchannel_logout_uri": logout_uri(&loaded, &named.name),
            "check_every_s": named.check_every_s, "check_required": named.requires_check(), "events": events, "scim": scim,
            "problems": complaints,
        });
        return print_json(&found).map(|()| complaints.is_empty());
    }
    outln!("metadata      {}", metadata.document);
    outln!("sign-in       {}", display::escape(&metadata.authorization_endpoint));
    outln!("tokens        {}", display::escape(&metadata.token_endpoint));
    for key in &keys {
        outln!(
            "key           {} {}",
            key["alg"].as_str().unwrap_or_default(),
            display::escape(key["kid"].as_str().unwrap_or_default())
        );
    }
    outln!("names itself  {}", if metadata.states_issuer { "in every answer (RFC 9207)" } else { "not in its answers" });
    outln!("client        {} ({})", display::escape(&named.client_id), proof(&credential));
    if let Some(jwk) = jwk {
        outln!("public key    {jwk}");
    }
    outln!("redirect URI  {}", redirect_uri(&loaded, &named.name));
    outln!("logout URI    {} (back-channel)", logout_uri(&loaded, &named.name));
    outln!("off-boarding  {}", bound(named, &metadata));
    tell_events(&events, scim.as_deref());
    for complaint in &complaints {
        outln!("problem       {complaint}");
    }
    Ok(complaints.is_empty())
}

/// When what a person handed out ends after the provider disabled them, and what that rests on.
fn bound(named: &OidcProvider, metadata: &provider::Metadata) -> String {
    let every = named.check_every_s;
    let otherwise = match (named.requires_check(), &metadata.userinfo_endpoint) {
        (true, _) => "who gets no refresh token from it is not let in",
        (false, Some(_)) => "without a refresh token by its userinfo endpoint, only for as long as its access token lives",
        (false, None) => "who gets no refresh token from it is NOT asked about",
    };
    let told = if metadata.logs_out { "at once after a logout; " } else { "it offers no back-channel logout; " };
    format!("{told}within {every} s after a person is disabled, by its refresh tokens; {otherwise}")
}

/// The base URL for SCIM, where it is configured.
fn scim_base(loaded: &Loaded, named: &OidcProvider) -> Option<String> {
    let base = format!("{}{}", loaded.config.server.public_url, remit_authority::scim_path(&named.name));
    named.scim.as_ref().map(|_| base)
}

/// Prints what [`events`] found, and where people are provisioned.
fn tell_events(events: &Value, scim: Option<&str>) {
    if let Some(base) = scim {
        outln!("SCIM at       {base}");
    }
    for (word, member) in
        [("events from", "document"), ("pushed to", "push_to"), ("polled at", "poll_at"), ("audience", "audience")]
    {
        if let Some(text) = events.get(member).and_then(Value::as_str) {
            outln!("{word:<13} {}", display::escape(text));
        }
    }
}

/// Where security events come from, and how; `null` where none are configured.
async fn events(
    loaded: &Loaded,
    named: &OidcProvider,
    outbound: &Outbound,
    ambient: &Ambient,
    complaints: &mut Vec<String>,
) -> Value {
    let Some(events) = &named.events else { return Value::Null };
    let issuer = events.issuer.as_ref().unwrap_or(&named.issuer);
    let document = match provider::examine_transmitter(outbound, &ambient.clock, issuer).await {
        Ok((transmitter, keys)) => {
            let verified =
                |(_, key): (&str, &remit_token::PublicKey)| matches!(key.algorithm(), Algorithm::Rs256 | Algorithm::Es256);
            if !keys.iter().any(verified) {
                complaints.push("the transmitter of security events publishes no key for RS256 or ES256".to_owned());
            }
            Some(transmitter.document)
        }
        Err(refusal) => {
            complaints.push(display::escape(&refusal.to_string()).into_owned());
            None
        }
    };
    let here = format!("{}{}", loaded.config.server.public_url, remit_authority::events_path(&named.name));
    json!({
        "issuer": issuer, "document": document, "audience": events.audience.as_ref().unwrap_or(&here),
        "push_to": events.push_token_file.as_ref().map(|_| &here), "poll_at": events.poll_url, "poll_every_s": events.poll_every_s,
    })
}

fn proof(credential: &ClientCredential) -> &'static str {
    match credential {
        ClientCredential::Secret(_) => "secret",
        ClientCredential::Key { .. } => "private key",
        ClientCredential::None => "public",
    }
}

fn list(loaded: &Loaded, as_json: bool) -> Result<()> {
    let providers: Vec<&OidcProvider> = config::oidc(&loaded.config.identity_providers).collect();
    if as_json {
        let one = |provider: &&OidcProvider| json!({"name": provider.name, "title": provider.title, "issuer": provider.issuer, "client_id": provider.client_id});
        return print_json(&json!({"providers": providers.iter().map(one).collect::<Vec<_>>()}));
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["PROVIDER", "ISSUER", "CLIENT"]);
    for provider in providers {
        table.add_row(
            [provider.name.as_str(), provider.issuer.as_str(), provider.client_id.as_str()]
                .map(|text| display::escape(text).into_owned()),
        );
    }
    outln!("{}", table.trim_fmt());
    Ok(())
}
