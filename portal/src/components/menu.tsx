// A button with a menu. What draws the menu is a tenth of all that a first page needs, so it is fetched with the
// first menu that is opened, or when the page has stood for a while.
import { type ComponentType, cloneElement, type ReactElement, type ReactNode, useState } from "react";
import { retried } from "../lib/pages";

export interface Item {
  label: string;
  run: () => void;
  icon?: ReactNode;
  /** It destroys something. */
  danger?: boolean;
  disabled?: boolean;
  /** It is what is chosen now. */
  chosen?: boolean;
  lang?: string;
}
export interface MenuProps {
  /** The button. */
  target: ReactElement<{
    onClick?: () => void;
    onPointerEnter?: () => void;
    "aria-haspopup"?: "menu";
    "aria-expanded"?: boolean;
  }>;
  items: Item[];
  width?: number;
}

let found: ComponentType<MenuProps> | undefined;
const load = retried(async () => {
  found = (await import("./menu-open")).OpenMenu;
});
window.setTimeout(() => void load().catch(() => {}), 5000);

export function ButtonMenu(props: MenuProps) {
  const [opened, setOpened] = useState(false);
  const [failed, setFailed] = useState<unknown>();
  if (failed) throw failed;
  if (opened && found) {
    const Open = found;
    return <Open {...props} />;
  }
  return cloneElement(props.target, {
    "aria-haspopup": "menu",
    "aria-expanded": false,
    onPointerEnter: () => void load().catch(() => {}),
    onClick: () => load().then(() => setOpened(true), setFailed),
  });
}
