// Copying works over plain http too, where browsers withhold `navigator.clipboard`.

/** Puts `text` on the clipboard; `near` is in the dialog, if any, that holds the focus. Returns whether it worked. */
export async function copyText(text: string, near: HTMLElement): Promise<boolean> {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The browser or its user forbids it: the older way may still work.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.readOnly = true;
  area.setAttribute("aria-hidden", "true");
  area.className = "sr-only";
  // Inside the dialog: its focus trap would take the focus away from a field outside.
  (near.closest("[role=dialog]") ?? document.body).append(area);
  const held = document.activeElement;
  area.focus();
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    if (held instanceof HTMLElement) held.focus();
  }
}
