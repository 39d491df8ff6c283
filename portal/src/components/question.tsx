// The dialog of a question. A file of its own: it brings what dialogs need, which the first page does without.
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useI18n } from "../i18n";
import type { Question } from "./confirm";

export function QuestionDialog(props: {
  question: Question;
  opened: boolean;
  answer: (yes: boolean) => void;
}) {
  const { t } = useI18n();
  const { question, answer } = props;
  return (
    <Modal
      opened={props.opened}
      onClose={() => answer(false)}
      title={question.title}
      // Above the dialog that it may have been asked in.
      zIndex={250}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <Stack>
        <Text component="div" size="sm">
          {question.body}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={() => answer(false)}>
            {t("Cancel")}
          </Button>
          <Button color={question.danger ? "red" : undefined} onClick={() => answer(true)}>
            {question.confirm}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
