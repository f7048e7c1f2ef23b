/** One field of a form that a JSON Schema describes. */

import { useId } from "preact/hooks";

import { Isolated } from "../../ui/text";
import type { FormField } from "../logic/schema-form";
import { oneLine, valueLine } from "../logic/text";

export interface FormInputProps {
  field: FormField;
  value: string;
  error: string | null;
  change(value: string): void;
}

export function FormInput({ field, value, error, change }: FormInputProps) {
  const id = useId();
  const described = [field.help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ");
  const shared = {
    id,
    "aria-invalid": error !== null,
    "aria-required": field.required,
    ...(described ? { "aria-describedby": described } : {}),
  };
  return (
    <div class="form-field">
      <label class="field-label" for={id}>
        <Isolated text={oneLine(field.label, 200)} />
        {!field.required && <span class="dim"> (optional)</span>}
      </label>
      {field.help && (
        <p class="dim" id={`${id}-help`}>
          <Isolated text={oneLine(field.help, 500)} />
        </p>
      )}
      <Input field={field} value={value} change={change} shared={shared} />
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

interface InputProps extends Omit<FormInputProps, "error"> {
  shared: { id: string };
}

function Input({ field, value, change, shared }: InputProps) {
  const kind = field.kind;
  if (kind === "choice" || kind === "boolean") {
    const choices = kind === "boolean" ? [true, false] : field.choices;
    return (
      <select {...shared} value={value} onChange={(event) => change(event.currentTarget.value)}>
        <option value="">{field.required ? "Choose…" : "No answer"}</option>
        {choices.map((each) => (
          <option key={JSON.stringify(each)} value={JSON.stringify(each)}>
            {kind === "boolean" ? (each ? "Yes" : "No") : valueLine(each, 100)}
          </option>
        ))}
      </select>
    );
  }
  if (kind === "number" || kind === "integer") {
    return (
      <input
        type="text"
        {...shared}
        inputMode={kind === "integer" ? "numeric" : "decimal"}
        value={value}
        onInput={(event) => change(event.currentTarget.value)}
      />
    );
  }
  return (
    <textarea
      {...shared}
      class={kind === "json" ? "code-input" : ""}
      rows={kind === "json" ? 4 : 2}
      dir="auto"
      value={value}
      onInput={(event) => change(event.currentTarget.value)}
    />
  );
}
