// A question before something is lost.
import { createContext, type ReactNode, Suspense, useCallback, useContext, useRef, useState } from "react";
import { part } from "../lib/pages";
import { Boundary } from "./boundary";
import type { QuestionDialog } from "./question";

export interface Question {
  title: string;
  body: ReactNode;
  confirm: string;
  danger?: boolean;
}
const Dialog = part<"QuestionDialog", Parameters<typeof QuestionDialog>[0]>(
  () => import("./question"),
  "QuestionDialog",
);
const ConfirmContext = createContext<(question: Question) => Promise<boolean>>(async () => false);
export const useConfirm = () => useContext(ConfirmContext);

export function ConfirmProvider({ children }: { children: ReactNode }) {
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
  return (
    <ConfirmContext.Provider value={ask}>
      {children}
      {question && (
        <Boundary reset={question.title}>
          <Suspense fallback={null}>
            <Dialog
              question={question}
              opened={opened}
              answer={(yes) => {
                setOpened(false);
                answer.current(yes);
              }}
            />
          </Suspense>
        </Boundary>
      )}
    </ConfirmContext.Provider>
  );
}
