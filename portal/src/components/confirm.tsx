// A question before something is lost.
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";
import { useI18n } from "../i18n";

interface Question {
  title: string;
  body: ReactNode;
  confirm: string;
  danger?: boolean;
}
const ConfirmContext = createContext<(question: Question) => Promise<boolean>>(async () => false);
export const useConfirm = () => useContext(ConfirmContext);

export function ConfirmProvider({ children }: { children: ReactNode }) {
  const { t } = useI18n();
  const [question, setQuestion] = useState<Question | null>(null);
  const [opened, setOpened] = useState(false);
  const answer = useRef<(yes: boolean) => void>(() => {});
  const ask = useCallback((next: Question) => {
    setQuestion(next);
    setOpened(true);
    return new Promise<boolean>((resolve) => {
      answer.current = resolve;
    });
  }, []);
  const close = (yes: boolean) => {
    setOpened(false);
    answer.current(yes);
  };
  return (
    <ConfirmContext.Provider value={ask}>
      {children}
      <Modal
        opened={opened}
        onClose={() => close(false)}
        title={question?.title}
        closeButtonProps={{ "aria-label": t("Close") }}
      >
        <Stack>
          <Text component="div" size="sm">
            {question?.body}
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={() => close(false)}>
              {t("Cancel")}
            </Button>
            <Button color={question?.danger ? "red" : undefined} onClick={() => close(true)}>
              {question?.confirm}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </ConfirmContext.Provider>
  );
}
