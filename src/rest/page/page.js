// Fetches the description of the API, with a key where one is asked for, and hands it to Swagger UI. The key stays in this
// tab, and goes to this server alone.
"use strict";

const KEPT = "proxmox-mcp key";
const here = new URL(".", location.href);
const element = (id) => document.getElementById(id);

async function describe(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(new URL("openapi.json", here), { headers });
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function show(api, key) {
  // Where this page came from the tools are, too, whatever name the server has elsewhere.
  api.servers = [{ url: here.href.replace(/\/$/, "") }];
  const ui = SwaggerUIBundle({
    spec: api,
    domNode: element("tools"),
    deepLinking: true,
    docExpansion: "list",
    filter: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    showExtensions: true,
    defaultModelsExpandDepth: -1,
    validatorUrl: null,
    persistAuthorization: false,
    onComplete: () => {
      if (key) ui.preauthorizeApiKey("bearer", key);
    },
  });
}

async function open(key) {
  const api = await describe(key);
  element("door").hidden = api !== null;
  element("refused").hidden = !key;
  if (api === null) {
    sessionStorage.removeItem(KEPT);
    element("key").focus();
    return;
  }
  if (key) sessionStorage.setItem(KEPT, key);
  show(api, key);
}

function start(key) {
  open(key).catch((error) => {
    element("failed").textContent = String(error);
    element("failed").hidden = false;
  });
}

element("door").addEventListener("submit", (event) => {
  event.preventDefault();
  start(element("key").value.trim());
});
start(sessionStorage.getItem(KEPT));
