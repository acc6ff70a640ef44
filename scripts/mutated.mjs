// The sources of a program that has all mutants in it, of which one is chosen when it starts (mutant schemata; Untch, Offutt
// and Harrold 1993): building once takes minutes, building for each mutant would take a day.

/** Where a position of cargo-mutants (line and column from one, in characters) is in the lines of a text. */
function offsetIn(text) {
  const starts = [0]
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return ({ line, column }) => starts[line - 1] + column - 1
}

/** The offset of the brace that begins what ends with the one before `end`. No string here has one brace alone. */
function openingBrace(text, end) {
  let depth = 0
  for (let i = end - 1; i >= 0; i -= 1) {
    if (text[i] === '}') depth += 1
    if (text[i] === '{') depth -= 1
    if (depth === 0) return i
  }
  throw new Error('a function has no body')
}

const linesOf = (text) => text.split('\n').length - 1

/** Groups of what has the same `place`, in order. */
function byPlace(mutants) {
  const groups = new Map()
  for (const mutant of mutants) groups.set(mutant.place, [...(groups.get(mutant.place) ?? []), mutant])
  return [...groups]
}

/** A constant in each of its mutated forms; functions of the same file choose one where they name it. */
function constants(source, mutants, offset) {
  return byPlace(mutants).map(([place, forms]) => {
    const start = source.lastIndexOf('const ', offset(forms[0].span.start))
    const end = source.indexOf(';', start) + 1
    const [, name] = /^const (\w+):/.exec(source.slice(start, end))
    const others = forms.map(({ id, span, replacement }) => {
      const value = `${source.slice(start, offset(span.start))}${replacement}${source.slice(offset(span.end), end)}`
      return value.replace(name, `${name}_${id}`)
    })
    const arms = forms.map(({ id }) => `${id} => ${name}_${id},`).join(' ')
    const use = `(match crate::mutant::chosen(${place}) { ${arms} _ => ${name} })`
    const withForms = (text) =>
      text.replace(new RegExp(`(?<!const )\\b${name}\\b`, 'g'), use).replace(`const ${name}:`, `${others.join(' ')} $&`)
    return withForms
  })
}

/**
 * The source with every function's body in each of its mutated forms, and the lines that each form takes.
 *
 * `mutants` are those of one file as cargo-mutants lists them, with an `id`, and a `place`: the id of what they are in.
 */
export function mutated(source, mutants) {
  const offset = offsetIn(source)
  const bodies = byPlace(mutants.filter((mutant) => mutant.function)).map(([place, forms]) => {
    const end = offset(forms[0].function.span.end)
    return { place, forms, start: openingBrace(source, end), end }
  })
  bodies.sort((a, b) => a.start - b.start)
  let text = ''
  let done = 0
  const lines = []
  for (const { place, forms, start, end } of bodies) {
    if (start < done) throw new Error(`functions with mutants inside each other: ${forms[0].name}`)
    text += `${source.slice(done, start)}{ match crate::mutant::chosen(${place}) {\n`
    for (const { id, span, replacement } of forms) {
      const [from, to] = [offset(span.start), offset(span.end)]
      const first = linesOf(text) + 1
      text += `${id} => ${source.slice(start, from)} ${replacement} ${source.slice(to, end)}\n`
      lines.push({ id, first, last: linesOf(text) })
    }
    text += `_ => ${source.slice(start, end)}\n} }`
    done = end
  }
  text += source.slice(done)
  for (const withForms of constants(
    source,
    mutants.filter((mutant) => !mutant.function),
    offset,
  ))
    text = withForms(text)
  return { text, lines }
}

/** What a crate needs besides: which mutant was chosen. Asked to, it writes down which places were reached. */
export const chooser = `
pub(crate) mod mutant {
    use std::{fs::File, io::Write, sync::{LazyLock, Mutex, atomic::{AtomicBool, Ordering}}};

    static CHOSEN: LazyLock<u32> = LazyLock::new(|| match std::env::var("MUTANT") {
        Ok(id) => id.parse().unwrap(),
        Err(_) => 0,
    });

    static REACHED: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
        let path = std::env::var("MUTANTS_REACHED").ok()?;
        Some(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
    });

    static SEEN: [AtomicBool; 4096] = [const { AtomicBool::new(false) }; 4096];

    #[inline]
    pub(crate) fn chosen(place: u32) -> u32 {
        let seen = &SEEN[place as usize];
        if !seen.load(Ordering::Relaxed) && !seen.swap(true, Ordering::Relaxed) {
            if let Some(file) = &*REACHED {
                file.lock().unwrap().write_all(format!("{place}\\n").as_bytes()).unwrap();
            }
        }
        *CHOSEN
    }
}
`
