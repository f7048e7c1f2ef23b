/** Markdown as elements: only elements that this file names, and no address but http, https and mailto. */

import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

import { type Block, parseMarkdown, type Span } from "../logic/markdown";

export function MarkdownText({ text }: { text: string }) {
  const blocks = useMemo(() => parseMarkdown(text), [text]);
  return (
    <div class="markdown" dir="auto">
      <Blocks blocks={blocks} />
    </div>
  );
}

function Blocks({ blocks }: { blocks: readonly Block[] }) {
  return (
    <>
      {blocks.map((each, number) => (
        <BlockElement key={number} block={each} />
      ))}
    </>
  );
}

function BlockElement({ block }: { block: Block }) {
  switch (block.kind) {
    case "heading":
      return <Heading level={block.level}>{spans(block.spans)}</Heading>;
    case "paragraph":
      return <p dir="auto">{spans(block.spans)}</p>;
    case "code":
      return (
        <pre dir="ltr">
          <code>{block.text}</code>
        </pre>
      );
    case "quote":
      return (
        <blockquote>
          <Blocks blocks={block.blocks} />
        </blockquote>
      );
    case "list": {
      const items = block.items.map((each, number) => (
        <li key={number} dir="auto">
          {each.length === 1 && each[0]?.kind === "paragraph" ? (
            spans(each[0].spans)
          ) : (
            <Blocks blocks={each} />
          )}
        </li>
      ));
      return block.start === null ? <ul>{items}</ul> : <ol start={block.start}>{items}</ol>;
    }
    case "table":
      return (
        <div class="table-frame">
          <table class="table">
            <thead>
              <tr>
                {block.head.map((each, number) => (
                  <th key={number} scope="col">
                    {spans(each)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {block.rows.map((row, number) => (
                <tr key={number}>
                  {row.map((each, column) => (
                    <td key={column}>{spans(each)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
    case "rule":
      return <hr />;
  }
}

/** A heading below those of the page, whose own headings have the levels 1 and 2. */
function Heading({ level, children }: { level: number; children: ComponentChildren }) {
  const name = `heading-${level}`;
  if (level === 1) return <h3 class={name}>{children}</h3>;
  if (level === 2) return <h4 class={name}>{children}</h4>;
  return <h5 class={name}>{children}</h5>;
}

function spans(all: readonly Span[]): ComponentChildren {
  return all.map((each, number) => <SpanElement key={number} span={each} />);
}

function SpanElement({ span }: { span: Span }) {
  switch (span.kind) {
    case "text":
      return <>{span.text}</>;
    case "code":
      return <code>{span.text}</code>;
    case "strong":
      return <strong>{spans(span.spans)}</strong>;
    case "emphasis":
      return <em>{spans(span.spans)}</em>;
    case "strike":
      return <s>{spans(span.spans)}</s>;
    case "break":
      return <br />;
    case "link":
      // The title shows where it leads, because its text comes from a model.
      return (
        <a href={span.address} title={span.address} target="_blank" rel="noopener noreferrer nofollow">
          {spans(span.spans)}
        </a>
      );
  }
}
