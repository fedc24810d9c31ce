// A click on one of our buttons tells the studio what is to be done (data-act) with what (data-of).
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button && element.contains(button)) {
    trigger('click', { act: button.dataset.act, of: button.dataset.of || '' });
  }
});
