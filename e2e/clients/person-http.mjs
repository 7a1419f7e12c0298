// A person without a browser: opens a sign-in page of the server, signs in, allows, and follows where the page leads.

/** Where the browser is sent at the end; `form` is what is posted first, for a page that asks for a device's code. */
export async function decide(url, { user, password }, form) {
  const cookies = new Map();
  const go = async (to, posted) => {
    const response = await fetch(new URL(to, url), {
      redirect: 'manual',
      headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
      ...(posted && { method: 'POST', body: new URLSearchParams(posted) }),
    });
    for (const cookie of response.headers.getSetCookie()) cookies.set(...cookie.split(';')[0].split(/=(.*)/s).slice(0, 2));
    return { response, text: response.status === 200 ? await response.text() : '' };
  };
  const hidden = ({ text }) => /name="request" value="([^"]*)"/.exec(text)?.[1].replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  let page = await go(url, form);
  if (/name="password"/.test(page.text)) page = await go('/oauth/login', { username: user, password, request: hidden(page) });
  if (/name="decision"/.test(page.text)) page = await go('/oauth/consent', { decision: 'allow', request: hidden(page) });
  const location = page.response.headers.get('location');
  if (!location && !/<main/.test(page.text)) throw new Error(`the page says ${page.response.status}`);
  return { location: location && new URL(location, url), text: words(page.text) };
}

const words = (page) => page.slice(page.indexOf('<main')).replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim();

/** The parameters that a redirect URI was given; throws what they say went wrong. */
export function answered({ location, text }) {
  if (!location) throw new Error(`the page says: ${text}`);
  const answer = location.searchParams;
  if (answer.has('error')) throw new Error(`${answer.get('error')}: ${answer.get('error_description')}`);
  return answer;
}
