// A person without a browser allows what a URL asks, and goes where the page leads. Script: {url, user, password}.
import { script } from './door.mjs';
import { answered, decide } from './person-http.mjs';

const decided = await decide(script.url, script);
answered(decided);
await fetch(decided.location);
console.log(JSON.stringify({ done: true }));
