import { notifications } from "@mantine/notifications";
import { api } from "../../api/client";
import { FormModal } from "../../components/dialogs";
import { useT } from "../../i18n";
import { accountFields } from "./fields";

export function Register({ onClose }: { onClose: () => void }) {
  const t = useT();
  return (
    <FormModal
      opened
      onClose={onClose}
      title={t("Create an account")}
      submit={t("Create")}
      fields={accountFields(t)}
      initial={{}}
      onSubmit={async ({ again: _, ...body }) => {
        await api.create("/users", { body });
        notifications.show({ message: t("Account created. You can sign in now."), color: "teal" });
      }}
    />
  );
}
