// A menu that has been asked for: open at first, then a button that opens it again.
import { Menu } from "@mantine/core";
import { cloneElement, type ReactElement, type Ref, useEffect, useState } from "react";
import type { MenuProps } from "./menu";

export function OpenMenu({ target, items, width }: MenuProps) {
  const [opened, setOpened] = useState(false);
  const [button, setButton] = useState<HTMLElement | null>(null);
  useEffect(() => {
    if (!button) return;
    // It took the place of the button that was used, and gets the focus back when the menu closes.
    button.focus();
    setOpened(true);
  }, [button]);
  return (
    <Menu position="bottom-end" width={width} opened={opened} onChange={setOpened}>
      <Menu.Target>
        {cloneElement(target as ReactElement<{ ref?: Ref<HTMLElement> }>, { ref: setButton })}
      </Menu.Target>
      <Menu.Dropdown>
        {items.map((item) => (
          <Menu.Item
            key={item.label}
            leftSection={item.icon}
            className={item.danger ? "danger" : undefined}
            disabled={item.disabled}
            fw={item.chosen ? 700 : undefined}
            lang={item.lang}
            onClick={item.run}
          >
            {item.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
