// The OpenAPI document as the explorer needs it.

export interface Schema {
  $ref?: string;
  type?: string;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  default?: unknown;
  enum?: unknown[];
}
export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required?: boolean;
  schema?: Schema;
  description?: string;
}
interface Described {
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content?: { "application/json"?: { schema?: Schema } } };
}
export interface Document {
  paths: Record<string, Record<string, Described>>;
  components?: { schemas?: Record<string, Schema> };
}
export interface Operation extends Described {
  /** `GET /projects`: method, and path below the API's own. */
  id: string;
  method: string;
  path: string;
  group: string;
}

const METHODS = ["get", "head", "post", "put", "patch", "delete"];

export function operationsOf(document: Document, base: string): Operation[] {
  return Object.entries(document.paths).flatMap(([full, item]) => {
    const path = full.startsWith(base) ? full.slice(base.length) : full;
    return METHODS.filter((method) => item[method]).map((method) => ({
      ...item[method],
      id: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      group: item[method].tags?.[0] ?? path.split("/")[1],
    }));
  });
}

const ZERO: Record<string, unknown> = {
  string: "",
  integer: 0,
  number: 0,
  boolean: false,
  array: [],
  object: {},
};

/** A body to begin with: each member, null where it may be left out (a null counts as left out). */
export function exampleOf(document: Document, schema: Schema | undefined): string {
  const resolve = (part: Schema | undefined): Schema =>
    part?.$ref
      ? resolve(document.components?.schemas?.[part.$ref.split("/").pop() ?? ""])
      : part?.anyOf
        ? resolve(part.anyOf.find((one) => one.type !== "null"))
        : (part ?? {});
  const found = resolve(schema);
  if (!found.properties) return JSON.stringify(ZERO[found.type ?? "object"] ?? {}, null, 2);
  const body = Object.entries(found.properties).map(([name, member]) => [
    name,
    found.required?.includes(name) ? (ZERO[resolve(member).type ?? "object"] ?? null) : null,
  ]);
  return JSON.stringify(Object.fromEntries(body), null, 2);
}
