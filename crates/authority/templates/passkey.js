// Passkeys: asks the browser's authenticator and puts its answer into the form that asked. Byte strings are base64url.
'use strict';
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const list = (ids) => ids.split(' ').filter(Boolean).map((id) => ({ type: 'public-key', id: bytes(id) }));
  const timeout = 300000;

  async function get(data) {
    const publicKey = { challenge: bytes(data.challenge), rpId: data.rp, allowCredentials: list(data.allow), userVerification: 'required', timeout };
    const { rawId, response } = await navigator.credentials.get({ publicKey });
    return {
      credential: text(rawId),
      authenticator_data: text(response.authenticatorData),
      client_data: text(response.clientDataJSON),
      signature: text(response.signature),
    };
  }

  async function create(data) {
    const { response } = await navigator.credentials.create({
      publicKey: {
        challenge: bytes(data.challenge),
        rp: { id: data.rp, name: 'Remit' },
        user: { id: bytes(data.user), name: data.name, displayName: data.display },
        pubKeyCredParams: data.algorithms.split(' ').map((alg) => ({ type: 'public-key', alg: Number(alg) })),
        excludeCredentials: list(data.exclude),
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
        attestation: 'none',
        timeout,
      },
    });
    return { client_data: text(response.clientDataJSON), attestation: text(response.attestationObject) };
  }

  function problem(error) {
    if (error.name === 'InvalidStateError') return 'This device already has a passkey for your account.';
    if (error.name === 'NotAllowedError') return 'No passkey was used. Try again, or use another one.';
    return `The browser refused: ${error.message}`;
  }

  if (!window.PublicKeyCredential) return;
  for (const form of document.querySelectorAll('form[data-passkey]')) {
    const ask = form.dataset.passkey === 'create' ? create : get;
    const said = form.querySelector('[data-problem]');
    form.hidden = false;
    form.querySelectorAll('[data-ask]').forEach((button) => { button.hidden = false; });
    form.querySelectorAll('[data-unsupported]').forEach((note) => { note.hidden = true; });
    form.addEventListener('submit', async (event) => {
      const button = event.submitter;
      if (!button || !('ask' in button.dataset) || form.elements.passkey.value) return;
      event.preventDefault();
      said.hidden = true;
      button.disabled = true;
      try {
        form.elements.passkey.value = JSON.stringify(await ask(form.dataset));
        button.disabled = false;
        form.requestSubmit(button);
      } catch (error) {
        button.disabled = false;
        said.textContent = problem(error);
        said.hidden = false;
      }
    });
  }
})();
