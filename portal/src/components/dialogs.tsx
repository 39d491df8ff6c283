// Dialogs: a form made from a list of fields, and a job's log.
import {
  Alert,
  Autocomplete,
  Button,
  Checkbox,
  Group,
  Modal,
  MultiSelect,
  NativeSelect,
  NumberInput,
  PasswordInput,
  ScrollArea,
  Stack,
  Switch,
  TagsInput,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { api, type Options, type PathOf } from "../api/client";
import { useErrorText } from "../hooks";
import { useI18n } from "../i18n";
import { Failure, Loading } from "./ui";

export interface Field {
  name: string;
  label: string;
  type?:
    | "text"
    | "password"
    | "number"
    | "select"
    | "multi"
    | "tags"
    | "switch"
    | "check"
    | "textarea"
    | "color"
    | "date"
    | "suggest";
  /** For `suggest`: names that begin or go on with the text. */
  suggest?: (text: string) => Promise<string[]>;
  help?: string;
  required?: boolean;
  placeholder?: string;
  options?: { value: string; label: string }[];
  min?: number;
  max?: number;
  disabled?: boolean;
  autoComplete?: string;
  /** Says what is wrong with the value, or nothing. */
  check?: (value: never, values: Values) => string | undefined | false;
  hidden?: (values: Values) => boolean;
  /** Where the value is in the object, when that is not under the field's name. */
  get?: (object: Values) => unknown;
  /** The object with the value in its place, everything else as it was. */
  put?: (object: Values, value: never) => Values;
}
export type Values = Record<string, any>;

const read = (field: Field, object: Values) => (field.get ? field.get(object) : object[field.name]);

/** Stored the other way round: "Verify the certificate" is `insecure: false`. */
export const negated = (name: string): Pick<Field, "get" | "put"> => ({
  get: (object) => !object[name],
  put: (object, value: boolean) => ({ ...object, [name]: !value }),
});

/** Keys of `object` that are not as in `stored`, with their values: what a request that changes parts sends. */
export function changes(stored: Values, object: Values): Values {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => !same(stored[name], value)));
}

/**
 * The state of a form is the stored object itself. A field that is touched changes its own part of it; what no
 * field shows is never written. The whole is sent where the API replaces, `changes` where it changes parts.
 */
export function useForm(fields: Field[], initial: Values) {
  const { t } = useI18n();
  const [values, setValues] = useState<Values>(initial);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const set = (name: string, value: unknown) => {
    const field = fields.find((item) => item.name === name);
    setValues((old) => (field?.put ? field.put(old, value as never) : { ...old, [name]: value }));
    setErrors(({ [name]: _, ...rest }) => rest);
  };
  const validate = () => {
    const found: Record<string, string> = {};
    for (const field of fields) {
      if (field.hidden?.(values)) continue;
      const value = read(field, values);
      const missing =
        value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length);
      if (field.required && missing) found[field.name] = t("This is needed");
      else if (!missing || field.required) {
        const wrong = field.check?.(value as never, values);
        if (wrong) found[field.name] = wrong;
      }
    }
    setErrors(found);
    return Object.keys(found).length === 0;
  };
  return { values, setValues, errors, set, validate };
}

export function Fields(props: {
  fields: Field[];
  form: Pick<ReturnType<typeof useForm>, "values" | "errors" | "set">;
}) {
  const { values, errors, set } = props.form;
  return (
    <>
      {props.fields
        .filter((field) => !field.hidden?.(values))
        .map((field, index) => {
          const common = {
            label: field.label,
            description: field.help,
            error: errors[field.name],
            disabled: field.disabled,
            placeholder: field.placeholder,
            name: field.name,
            "data-autofocus": index === 0 || undefined,
          };
          const value = read(field, values) as any;
          switch (field.type) {
            case "password":
              return (
                <PasswordInput
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  autoComplete={field.autoComplete ?? "new-password"}
                  value={value ?? ""}
                  onChange={(event) => set(field.name, event.currentTarget.value)}
                />
              );
            case "number":
              return (
                <NumberInput
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  min={field.min}
                  max={field.max}
                  hideControls
                  value={value ?? ""}
                  onChange={(next) => set(field.name, next === "" ? undefined : Number(next))}
                />
              );
            case "select":
              return (
                <NativeSelect
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  data={field.options}
                  value={value ?? ""}
                  onChange={(event) => set(field.name, event.currentTarget.value)}
                />
              );
            case "multi":
              return (
                <MultiSelect
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  data={field.options}
                  searchable
                  value={value ?? []}
                  onChange={(next) => set(field.name, next)}
                />
              );
            case "tags":
              return (
                <TagsInput
                  key={field.name}
                  {...common}
                  // A list without entries would be open, unseen, and take the first Esc.
                  dropdownOpened={false}
                  withAsterisk={field.required}
                  value={value ?? []}
                  onChange={(next) => set(field.name, next)}
                />
              );
            case "switch":
              return (
                <Switch
                  key={field.name}
                  {...common}
                  checked={value === true || value === "true"}
                  onChange={(event) => set(field.name, event.currentTarget.checked)}
                />
              );
            case "check":
              return (
                <Checkbox
                  key={field.name}
                  {...common}
                  checked={!!value}
                  onChange={(event) => set(field.name, event.currentTarget.checked)}
                />
              );
            case "textarea":
              return (
                <Textarea
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  autosize
                  minRows={3}
                  maxRows={12}
                  value={value ?? ""}
                  onChange={(event) => set(field.name, event.currentTarget.value)}
                />
              );
            case "suggest":
              return (
                <Suggest
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  suggest={field.suggest}
                  value={value ?? ""}
                  onChange={(next: string) => set(field.name, next)}
                />
              );
            default:
              return (
                <TextInput
                  key={field.name}
                  {...common}
                  withAsterisk={field.required}
                  type={field.type === "color" ? "color" : field.type === "date" ? "date" : "text"}
                  autoComplete={field.autoComplete ?? "off"}
                  value={value ?? ""}
                  onChange={(event) => set(field.name, event.currentTarget.value)}
                />
              );
          }
        })}
    </>
  );
}

/** A dialog with a form. `onSubmit` may throw: its error is shown and the dialog stays open. */
export function FormModal(props: {
  opened: boolean;
  onClose: () => void;
  title: string;
  submit: string;
  fields: Field[];
  /** What is stored, or what a new thing starts with. */
  initial: Values;
  /** Fetches what is stored when the dialog opens: a list may have been read before somebody else changed it. */
  load?: () => Promise<Values>;
  /** Gets the object with the touched fields changed, and the object as it was. */
  onSubmit: (values: Values, stored: Values) => Promise<unknown>;
  size?: string | number;
  note?: ReactNode;
  /** A second button next to the first, such as "Test connection". */
  extra?: (values: Values) => ReactNode;
}) {
  const { t } = useI18n();
  return (
    <Modal
      opened={props.opened}
      onClose={props.onClose}
      title={props.title}
      size={props.size ?? "md"}
      closeButtonProps={{ "aria-label": t("Close") }}
      closeOnClickOutside={false}
    >
      {props.load ? <Loaded {...props} load={props.load} /> : <FormBody {...props} />}
    </Modal>
  );
}

function Loaded(props: Parameters<typeof FormModal>[0] & { load: () => Promise<Values> }) {
  const id = useId();
  const query = useQuery({ queryKey: ["form", id], queryFn: props.load, gcTime: 0, staleTime: Infinity });
  // What is edited stays as it was when the dialog opened, whatever is read again behind it.
  const stored = useRef<Values>(undefined);
  stored.current ??= query.data;
  if (stored.current) return <FormBody {...props} initial={stored.current} />;
  if (query.error) return <Failure error={query.error} retry={query.refetch} />;
  return <Loading />;
}

function FormBody(props: Parameters<typeof FormModal>[0]) {
  const { t } = useI18n();
  const text = useErrorText();
  const form = useForm(props.fields, props.initial);
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  return (
    <form
      noValidate
      onSubmit={async (event) => {
        event.preventDefault();
        if (!form.validate()) return;
        setBusy(true);
        setError(null);
        try {
          // What others changed meanwhile stays: only what was touched here is put over what is stored now.
          const now = props.load ? await props.load() : props.initial;
          const touched = changes(props.initial, form.values);
          await props.onSubmit(props.load ? { ...now, ...touched } : form.values, now);
          await client.invalidateQueries();
          props.onClose();
        } catch (problem) {
          setError(problem);
        } finally {
          setBusy(false);
        }
      }}
    >
      <Stack gap="sm">
        {props.note}
        <Fields fields={props.fields} form={form} />
        {error !== null && (
          <Alert color="red" role="alert">
            {text(error)}
          </Alert>
        )}
        <Group justify="space-between" mt="xs">
          <div>{props.extra?.(form.values)}</div>
          <Group gap="xs">
            <Button variant="default" onClick={props.onClose}>
              {t("Cancel")}
            </Button>
            <Button type="submit" loading={busy}>
              {props.submit}
            </Button>
          </Group>
        </Group>
      </Stack>
    </form>
  );
}

/** A log that grows while its job runs; asked for again every two seconds until `live` is false. */
export function LogModal(props: {
  title: string;
  source: { template: PathOf<"get">; options?: Options } | null;
  live: boolean;
  onClose: () => void;
}) {
  const { t } = useI18n();
  const text = useErrorText();
  const viewport = useRef<HTMLDivElement>(null);
  const log = useQuery({
    queryKey: ["log", props.source],
    enabled: !!props.source,
    queryFn: ({ signal }) => api.text(props.source!.template, { ...props.source!.options, signal }),
    refetchInterval: props.live ? 2000 : false,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: new text is the reason to scroll
  useEffect(() => {
    viewport.current?.scrollTo({ top: viewport.current.scrollHeight });
  }, [log.data]);
  return (
    <Modal
      opened={!!props.source}
      onClose={props.onClose}
      title={props.title}
      size="xl"
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      {log.isPending ? (
        <Loading />
      ) : log.error ? (
        <Alert color="red">{text(log.error)}</Alert>
      ) : (
        <ScrollArea.Autosize mah={480} viewportRef={viewport} viewportProps={{ tabIndex: 0 }}>
          <pre className="log" role="log" aria-live={props.live ? "polite" : "off"}>
            {log.data || t("The log is empty.")}
          </pre>
        </ScrollArea.Autosize>
      )}
    </Modal>
  );
}

/** A text field that offers names while one types; any other text may be given too. */
function Suggest({
  suggest,
  ...input
}: { suggest?: (text: string) => Promise<string[]>; value: string } & Parameters<typeof Autocomplete>[0]) {
  const [asked] = useDebouncedValue(input.value.trim(), 200);
  const found = useQuery({
    queryKey: ["suggest", input.label, asked],
    queryFn: () => suggest?.(asked) ?? [],
    enabled: asked.length > 0,
    retry: false,
  });
  const data = found.data ?? [];
  // Names come later than the key that asked for them, so the list cannot open by the key itself.
  const [open, setOpen] = useState(false);
  return (
    <Autocomplete
      {...input}
      data={data}
      filter={({ options }) => options}
      onChange={(value) => {
        setOpen(true);
        input.onChange?.(value);
      }}
      onOptionSubmit={() => setOpen(false)}
      onBlur={() => setOpen(false)}
      onDropdownClose={() => setOpen(false)}
      // A list without entries would be open, unseen, and take the first Esc.
      dropdownOpened={open && data.length > 0}
    />
  );
}
