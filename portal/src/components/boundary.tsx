// What is shown in place of a page that broke, and the bar that says that the registry does not answer.
import { Alert, Button, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { CircleAlert, RotateCw, WifiOff } from "lucide-react";
import { Component, type ErrorInfo, type ReactNode, useEffect } from "react";
import { answers } from "../api/client";
import { useT } from "../i18n";
import { useLost } from "../lib/connection";
import { ChunkError, retryPages } from "../lib/pages";

interface Props {
  children: ReactNode;
  /** Another value starts the part again: the address, for a page. */
  reset?: string;
}
interface State {
  error: unknown;
  reset?: string;
}

/** Catches what its children throw while they are drawn; "Try again" draws them again. */
export class Boundary extends Component<Props, State> {
  state: State = { error: null, reset: this.props.reset };

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: State): Partial<State> | null {
    return props.reset === state.reset ? null : { error: null, reset: props.reset };
  }

  componentDidCatch(error: unknown, info: ErrorInfo) {
    console.error(error, info.componentStack);
  }

  componentDidUpdate(before: Props) {
    if (before.reset !== this.props.reset) retryPages();
  }

  retry = () => {
    retryPages();
    this.setState({ error: null });
  };

  render() {
    if (this.state.error === null) return this.props.children;
    return <Broken error={this.state.error} retry={this.retry} />;
  }
}

function Broken({ error, retry }: { error: unknown; retry: () => void }) {
  const t = useT();
  const chunk = error instanceof ChunkError;
  return (
    <Alert
      color="red"
      role="alert"
      icon={<CircleAlert size={18} aria-hidden />}
      title={chunk ? t("This page could not be loaded") : t("This page has a fault")}
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          {chunk
            ? t("The registry did not send it. Nothing that you entered elsewhere is lost.")
            : error instanceof Error
              ? error.message
              : String(error)}
        </Text>
        <Button size="xs" variant="default" leftSection={<RotateCw size={14} aria-hidden />} onClick={retry}>
          {t("Try again")}
        </Button>
      </Stack>
    </Alert>
  );
}

/** While the registry does not answer it is asked every two seconds; when it does, every list is asked for again. */
export function ConnectionBar() {
  const t = useT();
  const lost = useLost();
  const client = useQueryClient();
  useEffect(() => {
    if (!lost) return;
    let stop = false;
    const ask = async () => {
      while (!stop) {
        await new Promise((resolve) => window.setTimeout(resolve, 2000));
        if (!stop && (await answers())) return;
      }
    };
    void ask();
    return () => {
      stop = true;
      // Whichever request was answered first: the lists do not know of it.
      void client.invalidateQueries();
    };
  }, [lost, client]);
  return (
    <div aria-live="assertive">
      {lost && (
        <div className="connection">
          <WifiOff size={15} aria-hidden />
          {t("Connection lost, reconnecting…")}
        </div>
      )}
    </div>
  );
}
