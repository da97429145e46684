// System fonts, so that nothing is fetched from anywhere but this service.
const sans = "system-ui, sans-serif";
Redoc.init(
  "openapi.json",
  {
    hideDownloadButton: false,
    theme: {
      typography: { fontFamily: sans, headings: { fontFamily: sans }, code: { fontFamily: "ui-monospace, monospace" } },
    },
  },
  document.getElementById("api"),
);
