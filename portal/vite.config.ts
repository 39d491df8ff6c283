import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const server = process.env.SEAWALL_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/portal/",
  plugins: [react()],
  // The server puts a fresh value in place of this word in every answer (src/seawall/web/portal.py).
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    outDir: "../src/seawall/portal_dist",
    emptyOutDir: true,
    target: "es2022",
    // light-dark() is left as it is: written another way it misses the scheme that the user chose.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    assetsInlineLimit: 0,
    sourcemap: false,
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: Object.fromEntries(["/api", "/c", "/v2", "/service", "/readyz"].map((path) => [path, server])),
  },
});
