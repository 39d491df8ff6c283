// Markdown of READMEs and descriptions, made harmless: what anybody pushed must not act as the person who reads it.
import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useMemo } from "react";

// A picture of another place would tell that place who reads; the page's policy does not load it either.
const FORBIDDEN = [
  "style",
  "form",
  "input",
  "button",
  "textarea",
  "select",
  "video",
  "audio",
  "iframe",
  "img",
  "svg",
  "math",
];

// Event handlers go before a browser parses them: parsing alone is a violation of the page's policy, which it reports.
const marked = new Marked({
  gfm: true,
  renderer: { html: ({ text }) => text.replace(/([\s/"'])on\w+\s*=/gi, "$1data-off=") },
});

export function safeHtml(text: string): string {
  const html = marked.parse(text, { async: false });
  const clean = DOMPurify.sanitize(html, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: FORBIDDEN,
    ALLOW_DATA_ATTR: false,
    FORBID_ATTR: ["style", "class", "id", "name"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of clean.querySelectorAll("a[href]")) {
    link.setAttribute("rel", "noreferrer noopener nofollow");
    if (!link.getAttribute("href")?.startsWith("#")) link.setAttribute("target", "_blank");
  }
  // The page has its own first heading: those of the text lie below it.
  for (const level of [5, 4, 3, 2, 1]) {
    for (const heading of clean.querySelectorAll(`h${level}`)) {
      const lower = document.createElement(`h${Math.min(6, level + 2)}`);
      lower.append(...heading.childNodes);
      heading.replaceWith(lower);
    }
  }
  const box = document.createElement("div");
  box.append(clean);
  return box.innerHTML;
}

export function Markdown({ text }: { text: string }) {
  const html = useMemo(() => safeHtml(text), [text]);
  // biome-ignore lint/security/noDangerouslySetInnerHtml: sanitised above, and the page's policy runs no script in it
  return <div className="prose" dir="auto" dangerouslySetInnerHTML={{ __html: html }} />;
}
